/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * vmbtest.h - what user space and the test device "vmbtest" agree on. Buffers are made, exported,
 * imported and mapped by DRM's own ioctls; here are only the fences on command. Same layout for 32 and
 * 64 bits. Both ioctls work on the card node and on the render node.
 */
#ifndef VMBTEST_H
#define VMBTEST_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define VMBTEST_DRIVER_NAME "vmbtest"

/* Kinds of fences. */
#define VMBTEST_PENDING 0   /* signals by VMBTEST_SIGNAL, or with -ECANCELED when the file is closed */
#define VMBTEST_SIGNALLED 1 /* has signalled already, as a success */
#define VMBTEST_NEVER 2     /* stays pending as long as the machine runs, whatever is closed */
#define VMBTEST_FAILED 3    /* has signalled already, with -EIO */

/* What a fence stands for in its buffer. */
#define VMBTEST_WRITE 0 /* somebody writes until it signals: readers and writers wait */
#define VMBTEST_READ 1  /* somebody reads: writers wait */

/* Flags of a fence. */
#define VMBTEST_SYNC_FILE 1u /* hand it out as a sync_file, too */

/*
 * Makes a fence, on a time line of its own. Errors: EINVAL (an unknown kind, usage or flag, or a pad
 * that is not 0, or neither a buffer nor VMBTEST_SYNC_FILE), ENOENT (no such buffer), ENOMEM, EMFILE.
 */
struct vmbtest_fence {
	__u32 kind;       /* in */
	__u32 flags;      /* in */
	__u32 handle;     /* in: attach to this GEM buffer, be it our own or imported; 0: to none */
	__u32 usage;      /* in: VMBTEST_WRITE or VMBTEST_READ; 0 without a buffer */
	__u32 id;         /* out: names it for VMBTEST_SIGNAL; 0 if the kind is not VMBTEST_PENDING */
	__s32 descriptor; /* out: the sync_file, the caller's from now on; -1 if none was asked for */
};

/*
 * Ends a pending fence of this open file. Errors: ENOENT (no pending fence has this id), EINVAL (the
 * error is neither 0 nor a negative error number).
 */
struct vmbtest_signal {
	__u32 id;    /* in */
	__s32 error; /* in: 0 for success, or what it fails with, like -5 for -EIO */
};

/* 0x40: DRM_COMMAND_BASE, where a driver's own ioctls begin. */
#define DRM_IOCTL_VMBTEST_FENCE _IOWR('d', 0x40, struct vmbtest_fence)
#define DRM_IOCTL_VMBTEST_SIGNAL _IOW('d', 0x41, struct vmbtest_signal)

#endif
