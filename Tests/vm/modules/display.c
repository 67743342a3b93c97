// SPDX-License-Identifier: GPL-2.0
/*
 * vmbtest's screen: one connector that is always plugged in and shows nobody anything. A timer stands
 * for the vertical blank, so that compositors keep the pace they would keep on a screen.
 */
#include <drm/drm_atomic_helper.h>
#include <drm/drm_connector.h>
#include <drm/drm_edid.h>
#include <drm/drm_fourcc.h>
#include <drm/drm_gem_framebuffer_helper.h>
#include <drm/drm_modes.h>
#include <drm/drm_modeset_helper_vtables.h>
#include <drm/drm_probe_helper.h>
#include <drm/drm_vblank.h>

#include "device.h"

#define LARGEST 4096
#define PREFERRED_WIDTH 1024
#define PREFERRED_HEIGHT 768

static struct vmbtest_device *of_pipe(struct drm_simple_display_pipe *pipe)
{
	return container_of(pipe, struct vmbtest_device, pipe);
}

static enum hrtimer_restart blank(struct hrtimer *timer)
{
	struct vmbtest_device *device = container_of(timer, struct vmbtest_device, vblank);

	if (!drm_crtc_handle_vblank(&device->pipe.crtc))
		return HRTIMER_NORESTART;
	hrtimer_forward_now(timer, device->frame);
	return HRTIMER_RESTART;
}

static int enable_vblank(struct drm_simple_display_pipe *pipe)
{
	struct vmbtest_device *device = of_pipe(pipe);
	int rate = drm_mode_vrefresh(&pipe->crtc.mode);

	device->frame = ns_to_ktime(NSEC_PER_SEC / (rate > 0 ? rate : 60));
	hrtimer_start(&device->vblank, device->frame, HRTIMER_MODE_REL);
	return 0;
}

static void disable_vblank(struct drm_simple_display_pipe *pipe)
{
	/* Not hrtimer_cancel: we hold a lock that the timer's function may be waiting for. */
	hrtimer_try_to_cancel(&of_pipe(pipe)->vblank);
}

static void pipe_enable(struct drm_simple_display_pipe *pipe, struct drm_crtc_state *crtc_state,
			struct drm_plane_state *plane_state)
{
	drm_crtc_vblank_on(&pipe->crtc);
}

static void pipe_disable(struct drm_simple_display_pipe *pipe)
{
	drm_crtc_vblank_off(&pipe->crtc);
	hrtimer_cancel(&of_pipe(pipe)->vblank);
}

static void pipe_update(struct drm_simple_display_pipe *pipe, struct drm_plane_state *old_state)
{
	struct drm_crtc *crtc = &pipe->crtc;
	struct drm_pending_vblank_event *event = crtc->state->event;

	if (!event)
		return;
	crtc->state->event = NULL;
	spin_lock_irq(&crtc->dev->event_lock);
	/* A screen that is off has no blank to wait for. */
	if (crtc->state->active && drm_crtc_vblank_get(crtc) == 0)
		drm_crtc_arm_vblank_event(crtc, event);
	else
		drm_crtc_send_vblank_event(crtc, event);
	spin_unlock_irq(&crtc->dev->event_lock);
}

static const struct drm_simple_display_pipe_funcs pipe_funcs = {
	.enable = pipe_enable,
	.disable = pipe_disable,
	.update = pipe_update,
	.enable_vblank = enable_vblank,
	.disable_vblank = disable_vblank,
};

static int get_modes(struct drm_connector *connector)
{
	int count = drm_add_modes_noedid(connector, LARGEST, LARGEST);

	drm_set_preferred_mode(connector, PREFERRED_WIDTH, PREFERRED_HEIGHT);
	return count;
}

static const struct drm_connector_helper_funcs connector_helper_funcs = {
	.get_modes = get_modes,
};

static const struct drm_connector_funcs connector_funcs = {
	.fill_modes = drm_helper_probe_single_connector_modes,
	.reset = drm_atomic_helper_connector_reset,
	.atomic_duplicate_state = drm_atomic_helper_connector_duplicate_state,
	.atomic_destroy_state = drm_atomic_helper_connector_destroy_state,
	.destroy = drm_connector_cleanup,
};

static const struct drm_mode_config_funcs mode_config_funcs = {
	.fb_create = drm_gem_fb_create,
	.atomic_check = drm_atomic_helper_check,
	.atomic_commit = drm_atomic_helper_commit,
};

static const struct drm_mode_config_helper_funcs mode_config_helper_funcs = {
	/* Enables before it updates, so that the first picture's event comes at a blank as well. */
	.atomic_commit_tail = drm_atomic_helper_commit_tail_rpm,
};

static const u32 formats[] = { DRM_FORMAT_XRGB8888, DRM_FORMAT_ARGB8888 };
static const u64 modifiers[] = { DRM_FORMAT_MOD_LINEAR, DRM_FORMAT_MOD_INVALID };

int vmbtest_display_init(struct vmbtest_device *device)
{
	struct drm_device *drm = &device->drm;
	int error = drmm_mode_config_init(drm);

	if (error)
		return error;
	drm->mode_config.max_width = LARGEST;
	drm->mode_config.max_height = LARGEST;
	drm->mode_config.preferred_depth = 24;
	drm->mode_config.funcs = &mode_config_funcs;
	drm->mode_config.helper_private = &mode_config_helper_funcs;
	hrtimer_init(&device->vblank, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	device->vblank.function = blank;

	error = drm_connector_init(drm, &device->connector, &connector_funcs, DRM_MODE_CONNECTOR_VIRTUAL);
	if (error)
		return error;
	drm_connector_helper_add(&device->connector, &connector_helper_funcs);
	error = drm_simple_display_pipe_init(drm, &device->pipe, &pipe_funcs, formats, ARRAY_SIZE(formats),
					     modifiers, &device->connector);
	if (error)
		return error;
	error = drm_vblank_init(drm, 1);
	if (error)
		return error;
	drm_mode_config_reset(drm);
	return 0;
}
