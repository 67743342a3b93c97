// SPDX-License-Identifier: GPL-2.0
/* vmbtest's fences on command: see vmbtest.h for what they promise. */
#include <drm/drm_gem.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/slab.h>
#include <linux/sync_file.h>

#include "device.h"
#include "vmbtest.h"

struct fence {
	struct dma_fence base;
	spinlock_t lock;
};

static const char *driver_name(struct dma_fence *fence)
{
	return VMBTEST_DRIVER_NAME;
}

static const char *timeline_name(struct dma_fence *fence)
{
	return "command";
}

static const struct dma_fence_ops fence_ops = {
	.get_driver_name = driver_name,
	.get_timeline_name = timeline_name,
};

static void end(struct dma_fence *fence, int error)
{
	if (error)
		dma_fence_set_error(fence, error);
	dma_fence_signal(fence);
}

static struct dma_fence *make_fence(u32 kind)
{
	struct fence *fence = kzalloc(sizeof(*fence), GFP_KERNEL);

	if (!fence)
		return NULL;
	spin_lock_init(&fence->lock);
	/* A context of its own: of two fences in one, the kernel takes the earlier for done with the later. */
	dma_fence_init(&fence->base, &fence_ops, &fence->lock, dma_fence_context_alloc(1), 1);
	if (kind == VMBTEST_SIGNALLED)
		end(&fence->base, 0);
	if (kind == VMBTEST_FAILED)
		end(&fence->base, -EIO);
	return &fence->base;
}

static int attach(struct drm_file *file, u32 handle, struct dma_fence *fence, u32 usage)
{
	struct drm_gem_object *object = drm_gem_object_lookup(file, handle);
	int error;

	if (!object)
		return -ENOENT;
	error = dma_resv_lock_interruptible(object->resv, NULL);
	if (!error) {
		error = dma_resv_reserve_fences(object->resv, 1);
		if (!error)
			dma_resv_add_fence(object->resv, fence,
					   usage == VMBTEST_READ ? DMA_RESV_USAGE_READ :
								   DMA_RESV_USAGE_WRITE);
		dma_resv_unlock(object->resv);
	}
	drm_gem_object_put(object);
	return error;
}

static int remember(struct vmbtest_file *ours, struct dma_fence *fence)
{
	int id;

	mutex_lock(&ours->lock);
	id = idr_alloc(&ours->pending, fence, 1, 0, GFP_KERNEL);
	if (id > 0)
		dma_fence_get(fence);
	mutex_unlock(&ours->lock);
	return id;
}

/* The caller's reference from now on; NULL if there is none of that id. */
static struct dma_fence *forget(struct vmbtest_file *ours, u32 id)
{
	struct dma_fence *fence;

	mutex_lock(&ours->lock);
	fence = idr_remove(&ours->pending, id);
	mutex_unlock(&ours->lock);
	return fence;
}

static bool is_valid(const struct vmbtest_fence *wish)
{
	if (wish->kind > VMBTEST_FAILED || wish->usage > VMBTEST_READ || wish->flags & ~VMBTEST_SYNC_FILE)
		return false;
	return wish->handle ? true : wish->flags && !wish->usage;
}

int vmbtest_fence_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct vmbtest_file *ours = file->driver_priv;
	struct vmbtest_fence *wish = data;
	struct sync_file *sync_file = NULL;
	struct dma_fence *fence;
	int descriptor = -1, id = 0, error;

	if (!is_valid(wish))
		return -EINVAL;
	fence = make_fence(wish->kind);
	if (!fence)
		return -ENOMEM;
	if (wish->flags & VMBTEST_SYNC_FILE) {
		descriptor = get_unused_fd_flags(O_CLOEXEC);
		if (descriptor < 0) {
			error = descriptor;
			goto no_fence;
		}
		sync_file = sync_file_create(fence);
		if (!sync_file) {
			error = -ENOMEM;
			goto no_descriptor;
		}
	}
	if (wish->kind == VMBTEST_PENDING) {
		id = remember(ours, fence);
		if (id < 0) {
			error = id;
			goto no_sync_file;
		}
	}
	/* The last step that can fail: a fence in a buffer cannot be taken back. */
	if (wish->handle) {
		error = attach(file, wish->handle, fence, wish->usage);
		if (error)
			goto no_id;
	}
	if (sync_file)
		fd_install(descriptor, sync_file->file);
	wish->id = id;
	wish->descriptor = descriptor;
	dma_fence_put(fence);
	return 0;

no_id:
	if (id)
		dma_fence_put(forget(ours, id));
no_sync_file:
	if (sync_file)
		fput(sync_file->file);
no_descriptor:
	if (descriptor >= 0)
		put_unused_fd(descriptor);
no_fence:
	/* Nobody has seen it, and a fence must have signalled before it goes. */
	if (!dma_fence_is_signaled(fence))
		end(fence, -ECANCELED);
	dma_fence_put(fence);
	return error;
}

int vmbtest_signal_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	const struct vmbtest_signal *wish = data;
	struct dma_fence *fence;

	if (wish->error > 0 || wish->error < -MAX_ERRNO)
		return -EINVAL;
	fence = forget(file->driver_priv, wish->id);
	if (!fence)
		return -ENOENT;
	end(fence, wish->error);
	dma_fence_put(fence);
	return 0;
}

int vmbtest_fences_open(struct drm_device *drm, struct drm_file *file)
{
	struct vmbtest_file *ours = kzalloc(sizeof(*ours), GFP_KERNEL);

	if (!ours)
		return -ENOMEM;
	mutex_init(&ours->lock);
	idr_init(&ours->pending);
	file->driver_priv = ours;
	return 0;
}

void vmbtest_fences_close(struct drm_device *drm, struct drm_file *file)
{
	struct vmbtest_file *ours = file->driver_priv;
	struct dma_fence *fence;
	int id;

	/* As with a real device: what a dead client had under way ends, and not well. */
	idr_for_each_entry(&ours->pending, fence, id) {
		end(fence, -ECANCELED);
		dma_fence_put(fence);
	}
	idr_destroy(&ours->pending);
	mutex_destroy(&ours->lock);
	kfree(ours);
}
