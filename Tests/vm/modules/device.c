// SPDX-License-Identifier: GPL-2.0
/*
 * vmbtest: a DRM device for tests of dma-bufs and fences. Its buffers lie in shared memory. Unlike
 * vgem and vkms it lets imported buffers be mapped, for that is what Mesa's software renderer does with
 * every buffer it is given, and it has sync objects with time lines. Fences are in fences.c, the screen
 * in display.c.
 */
#include <drm/drm_drv.h>
#include <drm/drm_gem.h>
#include <drm/drm_gem_shmem_helper.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_vma_manager.h>
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/version.h>

#include "device.h"
#include "vmbtest.h"

static bool render = true;
module_param(render, bool, 0444);
MODULE_PARM_DESC(render, "have a render node; without one Mesa draws in software for the card node");

/*
 * The kernel's own function for this refuses imported objects. Ours may: when such a mapping is made,
 * the shmem helper has the exporter do it.
 */
static int dumb_map_offset(struct drm_file *file, struct drm_device *drm, u32 handle, u64 *offset)
{
	struct drm_gem_object *object = drm_gem_object_lookup(file, handle);
	int error;

	if (!object)
		return -ENOENT;
	error = drm_gem_create_mmap_offset(object);
	if (!error)
		*offset = drm_vma_node_offset_addr(&object->vma_node);
	drm_gem_object_put(object);
	return error;
}

static const struct drm_ioctl_desc ioctls[] = {
	DRM_IOCTL_DEF_DRV(VMBTEST_FENCE, vmbtest_fence_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VMBTEST_SIGNAL, vmbtest_signal_ioctl, DRM_RENDER_ALLOW),
};

DEFINE_DRM_GEM_FOPS(file_operations);

static struct drm_driver driver = {
	.driver_features = DRIVER_GEM | DRIVER_RENDER | DRIVER_MODESET | DRIVER_ATOMIC |
			   DRIVER_SYNCOBJ | DRIVER_SYNCOBJ_TIMELINE,
	.open = vmbtest_fences_open,
	.postclose = vmbtest_fences_close,
	DRM_GEM_SHMEM_DRIVER_OPS,
	.dumb_map_offset = dumb_map_offset,
	.ioctls = ioctls,
	.num_ioctls = ARRAY_SIZE(ioctls),
	.fops = &file_operations,
	.name = VMBTEST_DRIVER_NAME,
	.desc = "test device of vm-bridge",
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 14, 0)
	.date = "0",
#endif
	.major = 1,
};

static int probe(struct platform_device *platform)
{
	struct vmbtest_device *device;
	int error;

	/* Importing maps a buffer's pages for "the device", which must be able to reach them all. */
	error = dma_coerce_mask_and_coherent(&platform->dev, DMA_BIT_MASK(64));
	if (error)
		return error;
	device = devm_drm_dev_alloc(&platform->dev, &driver, struct vmbtest_device, drm);
	if (IS_ERR(device))
		return PTR_ERR(device);
	error = vmbtest_display_init(device);
	if (error)
		return error;
	return drm_dev_register(&device->drm, 0);
}

static struct platform_driver platform_driver = {
	.probe = probe,
	.driver = { .name = VMBTEST_DRIVER_NAME, .suppress_bind_attrs = true },
};

static int __init vmbtest_init(void)
{
	struct platform_device *platform;
	int error;

	if (!render)
		driver.driver_features &= ~DRIVER_RENDER;
	error = platform_driver_register(&platform_driver);
	if (error)
		return error;
	platform = platform_device_register_simple(VMBTEST_DRIVER_NAME, PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(platform)) {
		platform_driver_unregister(&platform_driver);
		return PTR_ERR(platform);
	}
	return 0;
}

/* There is no way out: a fence that never signals may outlive every file, and it needs our code. */
module_init(vmbtest_init);
MODULE_DESCRIPTION("DRM test device: mappable imports, time lines, fences on command");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(DMA_BUF);
