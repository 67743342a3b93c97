/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of vmbtest know of each other. */
#ifndef VMBTEST_DEVICE_H
#define VMBTEST_DEVICE_H

#include <drm/drm_connector.h>
#include <drm/drm_device.h>
#include <drm/drm_file.h>
#include <drm/drm_simple_kms_helper.h>
#include <linux/hrtimer.h>
#include <linux/idr.h>
#include <linux/mutex.h>

struct vmbtest_device {
	struct drm_device drm;
	struct drm_simple_display_pipe pipe;
	struct drm_connector connector;
	struct hrtimer vblank;
	ktime_t frame;
};

/* An open file's fences that wait for VMBTEST_SIGNAL, by id. The table holds a reference to each. */
struct vmbtest_file {
	struct mutex lock;
	struct idr pending;
};

int vmbtest_fences_open(struct drm_device *drm, struct drm_file *file);
void vmbtest_fences_close(struct drm_device *drm, struct drm_file *file);
int vmbtest_fence_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int vmbtest_signal_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

int vmbtest_display_init(struct vmbtest_device *device);

#endif
