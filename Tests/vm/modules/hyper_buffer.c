// SPDX-License-Identifier: GPL-2.0
/*
 * vmbhyper: buffers that cross between domains, and the dma-bufs that the importer makes of them. Both
 * sides are this machine, so an import is another dma-buf over the exporter's own pages.
 */
#include <linux/module.h>
#include <linux/random.h>
#include <linux/slab.h>

#include "hyper.h"

static bool mmap;
module_param(mmap, bool, 0444);
MODULE_PARM_DESC(mmap, "imports give the CPU their pages; without it mmap succeeds and has none, as in the original");

DEFINE_MUTEX(hyper_lock);
LIST_HEAD(hyper_buffers);
static u32 counter;
static struct workqueue_struct *works;

struct hyper_buffer *hyper_find(const struct hyper_dmabuf_hid *hid)
{
	struct hyper_buffer *buffer;

	list_for_each_entry(buffer, &hyper_buffers, link)
		if (!memcmp(&buffer->hid, hid, sizeof(*hid)))
			return buffer;
	return NULL;
}

static void free_buffer(struct kref *references)
{
	struct hyper_buffer *buffer = container_of(references, struct hyper_buffer, references);

	dma_buf_put(buffer->source);
	kfree(buffer->priv);
	kfree(buffer);
}

void hyper_put(struct hyper_buffer *buffer)
{
	kref_put(&buffer->references, free_buffer);
}

static void forget(struct hyper_buffer *buffer)
{
	if (!buffer->is_known)
		return;
	buffer->is_known = false;
	list_del(&buffer->link);
	hyper_put(buffer);
}

static void invalidate(struct hyper_buffer *buffer)
{
	buffer->is_valid = false;
	if (!buffer->imports)
		forget(buffer);
}

static void unexport_work(struct work_struct *work)
{
	struct hyper_buffer *buffer = container_of(to_delayed_work(work), struct hyper_buffer, unexport);

	mutex_lock(&hyper_lock);
	if (buffer->is_scheduled) {
		buffer->is_scheduled = false;
		invalidate(buffer);
	}
	hyper_put(buffer);
	mutex_unlock(&hyper_lock);
}

void hyper_unexport(struct hyper_buffer *buffer, u32 delay_ms)
{
	if (buffer->is_scheduled || !buffer->is_valid)
		return;
	buffer->is_scheduled = true;
	kref_get(&buffer->references);
	queue_delayed_work(works, &buffer->unexport, msecs_to_jiffies(delay_ms));
}

static struct hyper_buffer *find_export(struct dma_buf *source, u32 exporter, u32 importer)
{
	struct hyper_buffer *buffer;

	list_for_each_entry(buffer, &hyper_buffers, link)
		if (buffer->source == source && buffer->exporter == exporter &&
		    buffer->importer == importer && buffer->is_valid)
			return buffer;
	return NULL;
}

int hyper_export(struct dma_buf *source, u32 exporter, u32 importer, void *owner, bool new_id,
		 u8 *priv, u32 priv_size, struct hyper_buffer **out)
{
	struct hyper_buffer *buffer = new_id ? NULL : find_export(source, exporter, importer);

	if (buffer) {
		/* The fast path: the id stays, and what was scheduled is off. */
		if (buffer->is_scheduled) {
			buffer->is_scheduled = false;
			if (cancel_delayed_work(&buffer->unexport))
				hyper_put(buffer);
		}
		dma_buf_put(source);
		kfree(buffer->priv);
		buffer->priv = priv;
		buffer->priv_size = priv_size;
		*out = buffer;
		return 0;
	}
	buffer = kzalloc(sizeof(*buffer), GFP_KERNEL);
	if (!buffer) {
		dma_buf_put(source);
		kfree(priv);
		return -ENOMEM;
	}
	kref_init(&buffer->references);
	INIT_DELAYED_WORK(&buffer->unexport, unexport_work);
	/* Counters are used again, as in the original with its thousand; the key words tell them apart. */
	buffer->hid.id = (s32)((exporter & 0xff) << 24 | (counter++ % 1000 & 0xffffff));
	get_random_bytes(buffer->hid.key, sizeof(buffer->hid.key));
	buffer->exporter = exporter;
	buffer->importer = importer;
	buffer->source = source;
	buffer->owner = owner;
	buffer->priv = priv;
	buffer->priv_size = priv_size;
	buffer->is_known = buffer->is_valid = true;
	list_add_tail(&buffer->link, &hyper_buffers);
	*out = buffer;
	return 0;
}

static void forget_all(void)
{
	struct hyper_buffer *buffer;

	for (;;) {
		mutex_lock(&hyper_lock);
		buffer = list_first_entry_or_null(&hyper_buffers, struct hyper_buffer, link);
		if (buffer) {
			kref_get(&buffer->references);
			buffer->is_scheduled = buffer->is_valid = false;
			forget(buffer);
		}
		mutex_unlock(&hyper_lock);
		if (!buffer)
			return;
		if (cancel_delayed_work_sync(&buffer->unexport))
			hyper_put(buffer);
		hyper_put(buffer);
	}
}

int hyper_buffers_init(void)
{
	works = alloc_workqueue("vmbhyper", 0, 0);
	return works ? 0 : -ENOMEM;
}

void hyper_buffers_exit(void)
{
	forget_all();
	/* Waits for a work that has let go of everything but still runs our code. */
	destroy_workqueue(works);
}

/* Imports */

static int attach(struct dma_buf *import, struct dma_buf_attachment *attachment)
{
	struct hyper_buffer *buffer = import->priv;
	struct dma_buf_attachment *inner = dma_buf_attach(buffer->source, attachment->dev);

	if (IS_ERR(inner))
		return PTR_ERR(inner);
	attachment->priv = inner;
	return 0;
}

static void detach(struct dma_buf *import, struct dma_buf_attachment *attachment)
{
	struct hyper_buffer *buffer = import->priv;

	dma_buf_detach(buffer->source, attachment->priv);
}

static struct sg_table *map(struct dma_buf_attachment *attachment, enum dma_data_direction direction)
{
	return dma_buf_map_attachment_unlocked(attachment->priv, direction);
}

static void unmap(struct dma_buf_attachment *attachment, struct sg_table *table,
		  enum dma_data_direction direction)
{
	dma_buf_unmap_attachment_unlocked(attachment->priv, table, direction);
}

static int map_pages(struct dma_buf *import, struct vm_area_struct *area)
{
	struct hyper_buffer *buffer = import->priv;

	/* Success without pages, that is the original; whoever touches them gets SIGBUS. */
	return mmap ? dma_buf_mmap(buffer->source, area, area->vm_pgoff) : 0;
}

static void release(struct dma_buf *import)
{
	struct hyper_buffer *buffer = import->priv;

	mutex_lock(&hyper_lock);
	buffer->imports--;
	if (!buffer->imports && !buffer->is_valid)
		forget(buffer);
	hyper_put(buffer);
	mutex_unlock(&hyper_lock);
}

static const struct dma_buf_ops operations = {
	.attach = attach,
	.detach = detach,
	.map_dma_buf = map,
	.unmap_dma_buf = unmap,
	.mmap = map_pages,
	.release = release,
};

/* A new dma-buf with each call, no fences in it. Takes its own reference to the buffer. */
struct dma_buf *hyper_import(struct hyper_buffer *buffer)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *import;

	info.ops = &operations;
	info.size = PAGE_ALIGN(buffer->source->size);
	/* The original opens them for reading; a software renderer maps for both. */
	info.flags = mmap ? O_RDWR : O_RDONLY;
	info.priv = buffer;
	mutex_lock(&hyper_lock);
	kref_get(&buffer->references);
	buffer->imports++;
	mutex_unlock(&hyper_lock);
	import = dma_buf_export(&info);
	if (IS_ERR(import)) {
		mutex_lock(&hyper_lock);
		buffer->imports--;
		hyper_put(buffer);
		mutex_unlock(&hyper_lock);
	}
	return import;
}
