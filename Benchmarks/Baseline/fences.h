/* The sync ladder for the bare proxy: imported dma-bufs, and fences to the compositor and back by one rung of it, with
 * as few calls as will do. Nothing is watched over: a fence that never signals is waited for for ever. */
#ifndef BENCH_FENCES_H
#define BENCH_FENCES_H

#include "window.h"

enum rung {
    RUNG_NONE,      /* memfds by wl_shm, no fences at all */
    RUNG_TIMELINES, /* linux-drm-syncobj-v1 */
    RUNG_EXPLICIT,  /* linux-explicit-synchronization-v1 */
    RUNG_IMPLICIT,  /* the dma-buf's own fences */
    RUNG_HOLD       /* frames wait here until their fence has signalled */
};

/* The rung of that name; ends the program when there is none. */
enum rung fences_rung(const char *name);
/* Binds what the rung needs of the compositor and opens what it needs of the kernel. What is to be waited for is
 * watched by `epoll`. */
void fences_connect(struct desk *desk, enum rung rung, int epoll);
/* Makes a wl_buffer over a dma-buf with one plane, and keeps a descriptor of it if the rung needs one. */
void fences_add_buffer(struct window *window, int index, int dma_buf, uint32_t offset, int32_t width, int32_t height,
    uint32_t stride, uint32_t fourcc);
/* A frame with an acquire fence, taken from the caller, is in the window's mailbox; -1 for none. Returns whether it
 * can be committed; if not, `window_ready` is called when it can. */
int fences_arrived(struct window *window, int fence);
/* Says with the window's next commit, which is of that buffer, what the rung has to say. */
void fences_prepare(struct window *window, struct buffer *buffer);
/* One of the watched descriptors is ready. */
void fences_ready(int descriptor);
/* Frames that were held until their fence had signalled. */
uint64_t fences_held(void);

#endif
