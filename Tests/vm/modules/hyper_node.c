// SPDX-License-Identifier: GPL-2.0
/*
 * vmbhyper: the host's node /dev/hyper_dmabuf with its ioctls, and the one queue of records behind it:
 * 32 deep, the oldest is forgotten, whoever reads takes.
 *
 * The original trusts its callers in places. What would hurt it there is logged here as "BUG:", so that a
 * test sees that nobody does it.
 */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hyper.h"

/*
 * A record that waits. Of a new import it has the header alone: the private data is the buffer's at the
 * time of reading, and whatever once the buffer is gone.
 */
struct record {
	struct list_head link;
	struct hyper_dmabuf_event header;
	struct hyper_buffer *buffer; /* NULL: raw bytes */
	u8 *bytes;
	u32 count;
};

static LIST_HEAD(queue);
static u32 queued;
static u64 lost, exports;
static DECLARE_WAIT_QUEUE_HEAD(arrival);
/* The original makes the round trip of EXPORT_FD with its one lock held, so all other ioctls wait. */
static DEFINE_MUTEX(ioctl_lock);
static bool is_present;
static DEFINE_MUTEX(node_lock);

/* The queue */

static void free_record(struct record *record)
{
	if (record->buffer)
		hyper_put(record->buffer);
	kfree(record->bytes);
	kfree(record);
}

static struct record *first(void)
{
	return list_first_entry_or_null(&queue, struct record, link);
}

static void take_out(struct record *record)
{
	list_del(&record->link);
	queued--;
}

static void append(struct record *record)
{
	if (queued == HYPER_DMABUF_QUEUE_DEPTH) {
		struct record *oldest = first();

		take_out(oldest);
		free_record(oldest);
		lost++;
	}
	list_add_tail(&record->link, &queue);
	queued++;
	wake_up_interruptible(&arrival);
}

void hyper_queue_new(struct hyper_buffer *buffer)
{
	struct record *record = kzalloc(sizeof(*record), GFP_KERNEL);

	if (!record) {
		lost++;
		return;
	}
	record->header.type = HYPER_DMABUF_NEW_IMPORT;
	record->header.hid = buffer->hid;
	record->header.size = buffer->priv_size;
	record->buffer = buffer;
	record->count = sizeof(record->header) + buffer->priv_size;
	kref_get(&buffer->references);
	append(record);
}

int hyper_queue_raw(u8 *bytes, u32 count)
{
	struct record *record = kzalloc(sizeof(*record), GFP_KERNEL);

	if (!record) {
		kfree(bytes);
		return -ENOMEM;
	}
	record->bytes = bytes;
	record->count = count;
	append(record);
	return 0;
}

void hyper_queue_facts(u32 *queued_out, u64 *lost_out, u64 *exports_out)
{
	*queued_out = queued;
	*lost_out = lost;
	*exports_out = exports;
}

void hyper_queue_clear(void)
{
	struct record *record;

	while ((record = first())) {
		take_out(record);
		free_record(record);
	}
}

/* The record's bytes into `room`, which has record->count of them. */
static void put_bytes(const struct record *record, u8 *room)
{
	u32 size = record->count, has;

	if (record->bytes) {
		memcpy(room, record->bytes, size);
		return;
	}
	memcpy(room, &record->header, sizeof(record->header));
	room += sizeof(record->header);
	size -= sizeof(record->header);
	memset(room, 0xa5, size);
	if (!record->buffer->is_known)
		return;
	has = min(size, record->buffer->priv_size);
	if (has)
		memcpy(room, record->buffer->priv, has);
}

/* The node */

static ssize_t node_read(struct file *file, char __user *to, size_t count, loff_t *position)
{
	size_t done = 0;

	if (!capable(CAP_DAC_OVERRIDE))
		return -EPERM;
	if (!access_ok(to, count))
		return -EINVAL;
	mutex_lock(&hyper_lock);
	for (;;) {
		struct record *record = first();
		u8 *bytes;
		u32 size;

		if (!is_present) {
			mutex_unlock(&hyper_lock);
			return -ENODEV;
		}
		if (!record) {
			if (done)
				break;
			mutex_unlock(&hyper_lock);
			if (file->f_flags & O_NONBLOCK)
				return -EAGAIN;
			if (wait_event_interruptible(arrival, READ_ONCE(queued) || !READ_ONCE(is_present)))
				return -ERESTARTSYS;
			mutex_lock(&hyper_lock);
			continue;
		}
		size = record->count;
		/* What does not fit stays, and stands in the way if it is the first. */
		if (size > count - done)
			break;
		bytes = kmalloc(size, GFP_KERNEL);
		if (!bytes)
			break;
		put_bytes(record, bytes);
		if (copy_to_user(to + done, bytes, size)) {
			kfree(bytes);
			mutex_unlock(&hyper_lock);
			return -EFAULT;
		}
		kfree(bytes);
		take_out(record);
		free_record(record);
		done += size;
	}
	mutex_unlock(&hyper_lock);
	return done;
}

static __poll_t node_poll(struct file *file, poll_table *wait)
{
	poll_wait(file, &arrival, wait);
	if (!READ_ONCE(is_present))
		return EPOLLERR | EPOLLHUP;
	return READ_ONCE(queued) ? EPOLLIN | EPOLLRDNORM : 0;
}

static int node_open(struct inode *inode, struct file *file)
{
	/* What misc put there is the device, which is of no use; the pointer tells open files apart. */
	file->private_data = file;
	return file->f_flags & O_EXCL ? -EBUSY : 0;
}

static int node_release(struct inode *inode, struct file *file)
{
	struct hyper_buffer *buffer, *next;

	mutex_lock(&hyper_lock);
	list_for_each_entry_safe(buffer, next, &hyper_buffers, link)
		if (buffer->owner == file)
			hyper_unexport(buffer, 0);
	mutex_unlock(&hyper_lock);
	return 0;
}

static int tx_ch_setup(struct file *file, void *argument)
{
	return 0;
}

static int rx_ch_setup(struct file *file, void *argument)
{
	struct hyper_dmabuf_rx_ch_setup *setup = argument;

	if (setup->source_domain < 0 || setup->source_domain >= HYPER_DOMAINS)
		return -EINVAL;
	return hyper_is_there(setup->source_domain) ? 0 : 1;
}

static int export_remote(struct file *file, void *argument)
{
	struct hyper_dmabuf_export_remote *wish = argument;
	struct hyper_buffer *buffer;
	struct dma_buf *source;
	u8 *priv;
	int error;

	if (wish->remote_domain <= 0 || wish->remote_domain >= HYPER_DOMAINS || wish->sz_priv < 0)
		return -EINVAL;
	wish->sz_priv = min(wish->sz_priv, HYPER_DMABUF_PRIV_MAX);
	priv = memdup_user(u64_to_user_ptr(wish->priv), wish->sz_priv);
	if (IS_ERR(priv))
		return PTR_ERR(priv);
	source = dma_buf_get(wish->dmabuf_fd);
	if (IS_ERR(source)) {
		kfree(priv);
		return PTR_ERR(source);
	}
	mutex_lock(&hyper_lock);
	error = hyper_export(source, 0, wish->remote_domain, file, false, priv, wish->sz_priv, &buffer);
	if (!error)
		wish->hid = buffer->hid;
	mutex_unlock(&hyper_lock);
	return error;
}

static int export_fd(struct file *file, void *argument)
{
	struct hyper_dmabuf_export_fd *wish = argument;
	struct hyper_buffer *buffer;
	struct dma_buf *import;
	int error;

	mutex_lock(&hyper_lock);
	buffer = hyper_find(&wish->hid);
	if (buffer && !buffer->importer)
		kref_get(&buffer->references);
	else
		buffer = NULL;
	mutex_unlock(&hyper_lock);
	if (!buffer)
		return -ENOENT;
	error = hyper_ask(buffer->exporter);
	if (!error) {
		mutex_lock(&hyper_lock);
		error = buffer->is_valid ? 0 : -EINVAL;
		mutex_unlock(&hyper_lock);
	}
	if (!error) {
		import = hyper_import(buffer);
		error = PTR_ERR_OR_ZERO(import);
	}
	if (!error) {
		wish->fd = dma_buf_fd(import, wish->flags);
		if (wish->fd < 0) {
			error = wish->fd;
			dma_buf_put(import);
		}
	}
	mutex_lock(&hyper_lock);
	exports += !error;
	hyper_put(buffer);
	mutex_unlock(&hyper_lock);
	return error;
}

static int unexport(struct file *file, void *argument)
{
	struct hyper_dmabuf_unexport *wish = argument;
	struct hyper_buffer *buffer;

	mutex_lock(&hyper_lock);
	buffer = hyper_find(&wish->hid);
	if (buffer && !buffer->exporter)
		hyper_unexport(buffer, wish->delay_ms > 0 ? wish->delay_ms : 0);
	else
		buffer = NULL;
	mutex_unlock(&hyper_lock);
	wish->status = buffer ? wish->status : -ENOENT;
	return buffer ? 0 : -ENOENT;
}

static int answer_query(struct hyper_buffer *buffer, struct hyper_dmabuf_query *query)
{
	switch (query->item) {
	case HYPER_DMABUF_QUERY_TYPE:
		query->info = buffer->importer ? 1 : 2;
		return 0;
	case HYPER_DMABUF_QUERY_EXPORTER:
		query->info = buffer->exporter;
		return 0;
	case HYPER_DMABUF_QUERY_IMPORTER:
		query->info = buffer->importer;
		return 0;
	case HYPER_DMABUF_QUERY_SIZE:
		query->info = buffer->imports ? PAGE_ALIGN(buffer->source->size) : buffer->source->size;
		return 0;
	case HYPER_DMABUF_QUERY_BUSY:
		query->info = buffer->imports > 0;
		return 0;
	case HYPER_DMABUF_QUERY_UNEXPORTED:
		query->info = !buffer->is_valid;
		return 0;
	case HYPER_DMABUF_QUERY_DELAYED:
		if (!buffer->importer)
			return -EINVAL;
		query->info = !buffer->is_scheduled; /* the original's mistake, too */
		return 0;
	case HYPER_DMABUF_QUERY_PRIV_SIZE:
		query->info = buffer->priv_size;
		return 0;
	case HYPER_DMABUF_QUERY_PRIV:
		/* All of it, whatever room there is. */
		if (copy_to_user(u64_to_user_ptr(query->info), buffer->priv, buffer->priv_size))
			return -EFAULT;
		return 0;
	default:
		return -EINVAL;
	}
}

static int query(struct file *file, void *argument)
{
	struct hyper_dmabuf_query *query = argument;
	struct hyper_buffer *buffer;
	int error = -ENOENT;

	mutex_lock(&hyper_lock);
	buffer = hyper_find(&query->hid);
	if (buffer)
		error = answer_query(buffer, query);
	mutex_unlock(&hyper_lock);
	return error;
}

/* Found by number alone, as there; so a caller must know what it calls. */
static const struct {
	u32 size;
	int (*call)(struct file *file, void *argument);
} table[] = {
	{ sizeof(struct hyper_dmabuf_tx_ch_setup), tx_ch_setup },
	{ sizeof(struct hyper_dmabuf_rx_ch_setup), rx_ch_setup },
	{ sizeof(struct hyper_dmabuf_export_remote), export_remote },
	{ sizeof(struct hyper_dmabuf_export_fd), export_fd },
	{ sizeof(struct hyper_dmabuf_unexport), unexport },
	{ sizeof(struct hyper_dmabuf_query), query },
};

static long node_ioctl(struct file *file, unsigned int request, unsigned long pointer)
{
	u32 number = _IOC_NR(request), size = _IOC_SIZE(request);
	u8 argument[64] __aligned(8) = { 0 };
	long answer;

	if (number == ARRAY_SIZE(table))
		pr_err("vmbhyper: BUG: somebody tried number %u: the original reads past its table\n", number);
	if (number >= ARRAY_SIZE(table) || size > sizeof(argument))
		return -EINVAL;
	if (size != table[number].size || _IOC_TYPE(request) != 'G')
		pr_err("vmbhyper: BUG: request %#x is not the driver's\n", request);
	if (size < table[number].size)
		return -EINVAL;
	if (copy_from_user(argument, (void __user *)pointer, size))
		return -EFAULT;
	if (mutex_lock_killable(&ioctl_lock))
		return -EINTR;
	answer = READ_ONCE(is_present) ? table[number].call(file, argument) : -ENODEV;
	mutex_unlock(&ioctl_lock);
	/* Also after an error. */
	if (copy_to_user((void __user *)pointer, argument, size))
		return -EFAULT;
	return answer;
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.open = node_open,
	.release = node_release,
	.read = node_read,
	.poll = node_poll,
	.unlocked_ioctl = node_ioctl,
};

static struct miscdevice node = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = HYPER_DMABUF_NODE,
	.fops = &operations,
	.mode = 0660,
};

int hyper_node_set(bool present)
{
	int error = 0;

	mutex_lock(&node_lock);
	if (present == is_present) {
		error = -EALREADY;
	} else if (present) {
		WRITE_ONCE(is_present, true);
		node.minor = MISC_DYNAMIC_MINOR;
		error = misc_register(&node);
		if (error)
			WRITE_ONCE(is_present, false);
	} else {
		misc_deregister(&node);
		WRITE_ONCE(is_present, false);
		wake_up_interruptible(&arrival);
	}
	mutex_unlock(&node_lock);
	return error;
}

int hyper_node_uevent(const struct hyper_dmabuf_hid *hid)
{
	char text[64];
	char *environment[] = { hid ? text : NULL, NULL };
	int error = -ENODEV;

	if (hid)
		snprintf(text, sizeof(text), "HYPER_DMABUF_ID=%*phN", (int)sizeof(*hid), hid);
	mutex_lock(&node_lock);
	if (is_present)
		error = kobject_uevent_env(&node.this_device->kobj, KOBJ_CHANGE, environment);
	mutex_unlock(&node_lock);
	return error;
}

static int __init hyper_init(void)
{
	int error = hyper_buffers_init();

	if (error)
		return error;
	error = hyper_peer_init();
	if (error)
		goto no_peer;
	error = hyper_node_set(true);
	if (error)
		goto no_node;
	return 0;
no_node:
	hyper_peer_exit();
no_peer:
	hyper_buffers_exit();
	return error;
}

static void __exit hyper_exit(void)
{
	hyper_peer_exit();
	hyper_node_set(false);
	mutex_lock(&hyper_lock);
	hyper_queue_clear();
	mutex_unlock(&hyper_lock);
	hyper_buffers_exit();
}

module_init(hyper_init);
module_exit(hyper_exit);
MODULE_DESCRIPTION("hyper_dmabuf in a loop: both domains are this machine");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(DMA_BUF);
