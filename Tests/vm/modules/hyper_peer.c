// SPDX-License-Identifier: GPL-2.0
/*
 * vmbhyper: the node that plays the virtual machines which export; see vmbhyper.h.
 */
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "hyper.h"

struct domain {
	bool is_there;
	u32 kind, delay_ms;
	s32 error;
};

static struct domain domains[HYPER_DOMAINS]; /* hyper_lock's */
static DECLARE_WAIT_QUEUE_HEAD(answers);
static atomic_t open_files = ATOMIC_INIT(0);

/* What the original waits for an answer on Xen. */
#define NO_ANSWER_MS 100

bool hyper_is_there(u32 domain)
{
	return READ_ONCE(domains[domain].is_there);
}

/* Killed callers get EINTR, as from every wait that a signal can end. */
int hyper_ask(u32 number)
{
	struct domain *domain = &domains[number];
	struct domain answer;

	mutex_lock(&hyper_lock);
	answer = *domain;
	mutex_unlock(&hyper_lock);
	if (!answer.is_there) {
		msleep(NO_ANSWER_MS);
		return -EBUSY;
	}
	if (answer.delay_ms && msleep_interruptible(answer.delay_ms) && fatal_signal_pending(current))
		return -EINTR;
	if (answer.kind == VMBHYPER_ANSWER_NEVER) {
		if (wait_event_killable(answers, READ_ONCE(domain->kind) != VMBHYPER_ANSWER_NEVER ||
							 !READ_ONCE(domain->is_there)))
			return -EINTR;
		return -EBUSY;
	}
	return answer.kind == VMBHYPER_ANSWER_ERROR ? answer.error : 0;
}

static void kill_domain(struct domain *domain)
{
	WRITE_ONCE(domain->is_there, false);
	domain->kind = VMBHYPER_ANSWER_RIGHT;
	domain->delay_ms = 0;
	wake_up_all(&answers);
}

static bool is_domain(u32 number)
{
	return number > 0 && number < HYPER_DOMAINS;
}

static long peer_export(struct vmbhyper_export *wish)
{
	const u32 known = VMBHYPER_NO_EVENT | VMBHYPER_UEVENT | VMBHYPER_UEVENT_ID | VMBHYPER_NEW_ID;
	struct hyper_buffer *buffer;
	struct dma_buf *source;
	u8 *priv;
	int error;

	if (!is_domain(wish->domain) || wish->flags & ~known || wish->priv_size > HYPER_PRIV_LIMIT)
		return -EINVAL;
	priv = memdup_user(u64_to_user_ptr(wish->priv), wish->priv_size);
	if (IS_ERR(priv))
		return PTR_ERR(priv);
	source = dma_buf_get(wish->buffer);
	if (IS_ERR(source)) {
		kfree(priv);
		return PTR_ERR(source);
	}
	mutex_lock(&hyper_lock);
	WRITE_ONCE(domains[wish->domain].is_there, true);
	error = hyper_export(source, wish->domain, 0, NULL, wish->flags & VMBHYPER_NEW_ID, priv,
			     wish->priv_size, &buffer);
	if (!error) {
		wish->hid = buffer->hid;
		if (!(wish->flags & VMBHYPER_NO_EVENT))
			hyper_queue_new(buffer);
	}
	mutex_unlock(&hyper_lock);
	/* A uevent tells of what happened; that the node is away just now changes nothing about it. */
	if (!error && wish->flags & (VMBHYPER_UEVENT | VMBHYPER_UEVENT_ID))
		hyper_node_uevent(wish->flags & VMBHYPER_UEVENT_ID ? &wish->hid : NULL);
	return error;
}

static long peer_unexport(const struct vmbhyper_unexport *wish)
{
	struct hyper_buffer *buffer;

	mutex_lock(&hyper_lock);
	buffer = hyper_find(&wish->hid);
	if (buffer)
		hyper_unexport(buffer, wish->delay_ms);
	mutex_unlock(&hyper_lock);
	return buffer ? 0 : -ENOENT;
}

static long peer_answer(const struct vmbhyper_answer *wish)
{
	struct domain *domain = &domains[wish->domain % HYPER_DOMAINS];

	if (!is_domain(wish->domain) || wish->kind > VMBHYPER_ANSWER_NEVER || wish->delay_ms > 60000)
		return -EINVAL;
	if (wish->kind == VMBHYPER_ANSWER_ERROR && (wish->error >= 0 || wish->error < -MAX_ERRNO))
		return -EINVAL;
	mutex_lock(&hyper_lock);
	domain->error = wish->error;
	domain->delay_ms = wish->delay_ms;
	WRITE_ONCE(domain->kind, wish->kind);
	mutex_unlock(&hyper_lock);
	wake_up_all(&answers);
	return 0;
}

static long peer_kill(const struct vmbhyper_kill *wish)
{
	if (!is_domain(wish->domain))
		return -EINVAL;
	mutex_lock(&hyper_lock);
	kill_domain(&domains[wish->domain]);
	mutex_unlock(&hyper_lock);
	return 0;
}

static long peer_inject(const struct vmbhyper_inject *wish)
{
	u8 *bytes;
	int error;

	if (!wish->count || wish->count > 8192)
		return -EINVAL;
	bytes = memdup_user(u64_to_user_ptr(wish->bytes), wish->count);
	if (IS_ERR(bytes))
		return PTR_ERR(bytes);
	mutex_lock(&hyper_lock);
	error = hyper_queue_raw(bytes, wish->count);
	mutex_unlock(&hyper_lock);
	return error;
}

static long peer_state(struct vmbhyper_state *state)
{
	struct hyper_buffer *buffer;

	mutex_lock(&hyper_lock);
	buffer = hyper_find(&state->hid);
	state->is_known = buffer != NULL;
	state->is_valid = buffer && buffer->is_valid;
	state->imports = buffer ? buffer->imports : 0;
	hyper_queue_facts(&state->queued, &state->lost, &state->exports);
	mutex_unlock(&hyper_lock);
	return 0;
}

static long dispatch(unsigned int request, void *argument)
{
	struct vmbhyper_uevent *uevent = argument;

	switch (request) {
	case VMBHYPER_EXPORT:
		return peer_export(argument);
	case VMBHYPER_UNEXPORT:
		return peer_unexport(argument);
	case VMBHYPER_ANSWER:
		return peer_answer(argument);
	case VMBHYPER_KILL:
		return peer_kill(argument);
	case VMBHYPER_INJECT:
		return peer_inject(argument);
	case VMBHYPER_NODE:
		return hyper_node_set(((struct vmbhyper_node *)argument)->present);
	case VMBHYPER_UEVENT_NOW:
		return hyper_node_uevent(uevent->flags & VMBHYPER_UEVENT_ID ? &uevent->hid : NULL);
	case VMBHYPER_STATE:
		return peer_state(argument);
	default:
		return -ENOTTY;
	}
}

static long peer_ioctl(struct file *file, unsigned int request, unsigned long pointer)
{
	u8 argument[64] __aligned(8) = { 0 };
	u32 size = _IOC_SIZE(request);
	long answer;

	if (size > sizeof(argument))
		return -ENOTTY;
	if (copy_from_user(argument, (void __user *)pointer, size))
		return -EFAULT;
	answer = dispatch(request, argument);
	if (!answer && _IOC_DIR(request) & _IOC_READ && copy_to_user((void __user *)pointer, argument, size))
		return -EFAULT;
	return answer;
}

static int peer_open(struct inode *inode, struct file *file)
{
	atomic_inc(&open_files);
	return 0;
}

static int peer_release(struct inode *inode, struct file *file)
{
	struct hyper_buffer *buffer, *next;
	u32 number;

	if (!atomic_dec_and_test(&open_files))
		return 0;
	mutex_lock(&hyper_lock);
	for (number = 0; number < HYPER_DOMAINS; number++)
		kill_domain(&domains[number]);
	list_for_each_entry_safe(buffer, next, &hyper_buffers, link)
		if (!buffer->importer)
			hyper_unexport(buffer, 0);
	mutex_unlock(&hyper_lock);
	return 0;
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.open = peer_open,
	.release = peer_release,
	.unlocked_ioctl = peer_ioctl,
};

static struct miscdevice peer = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = VMBHYPER_PEER_NODE,
	.fops = &operations,
	.mode = 0600,
};

int hyper_peer_init(void)
{
	return misc_register(&peer);
}

void hyper_peer_exit(void)
{
	misc_deregister(&peer);
}
