/* The bare client: what showing frames costs with nothing in between.
 * Usage: client WINDOWS FRAMES [SIDE]. Each window commits a frame at every frame callback, cycling through
 * three wl_shm buffers of SIDE x SIDE pixels, and ends when every frame of every window was presented. */
#define _GNU_SOURCE
#include "window.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct desk desk;
static struct window windows[BENCH_MOST_WINDOWS];
static uint64_t frames;
static int32_t side = 64;

static void show_next(struct window *window) {
    const int32_t damage[4] = {0, 0, side, side};
    struct buffer *buffer = NULL;
    if (window->committed == frames)
        return;
    for (int index = 0; index < BENCH_BUFFERS && buffer == NULL; index++)
        if (!window->buffers[index].is_held)
            buffer = &window->buffers[index];
    if (buffer == NULL) {
        fprintf(stderr, "bench: the compositor holds all three buffers of a window\n");
        exit(1);
    }
    window_commit(&desk, window, buffer, window->committed + 1, damage);
}

void descriptor_ready(int descriptor) { (void)descriptor; }
void window_configured(struct window *window) { show_next(window); }
void window_ready(struct window *window) { show_next(window); }
void buffer_released(struct buffer *buffer) { (void)buffer; }
void window_presented(
    struct window *window, uint64_t sequence, uint64_t time, uint32_t refresh, uint32_t flags, int is_discarded) {
    (void)window, (void)sequence, (void)time, (void)refresh, (void)flags, (void)is_discarded;
}

static int make_memory(size_t bytes) {
    int memory = memfd_create("bench-pixels", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory < 0 || ftruncate(memory, (off_t)bytes) < 0 || fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
        fail("memfd");
    return memory;
}

int main(int count, char **arguments) {
    int total = count > 2 ? atoi(arguments[1]) : 0, epoll;
    frames = count > 2 ? strtoull(arguments[2], NULL, 10) : 0;
    if (count > 3)
        side = atoi(arguments[3]);
    if (total < 1 || total > BENCH_MOST_WINDOWS || frames < 1 || side < 1) {
        fprintf(stderr, "usage: client WINDOWS FRAMES [SIDE]\n");
        return 64;
    }
    desk_connect(&desk);
    for (int index = 0; index < total; index++) {
        struct window *window = &windows[index];
        window_make(&desk, window, "bench client");
        for (int number = 0; number < BENCH_BUFFERS; number++) {
            int memory = make_memory((size_t)side * (size_t)side * 4);
            window_add_buffer(&desk, window, number, memory, 0, side, side, side * 4, WL_SHM_FORMAT_XRGB8888);
            close(memory);
        }
    }
    epoll = desk_epoll(&desk, -1);
    for (int done = 0; done < total;) {
        desk_turn(&desk, epoll, -1);
        done = 0;
        for (int index = 0; index < total; index++)
            done += windows[index].presented + windows[index].discarded == frames;
    }
    uint64_t committed = 0, presented = 0, discarded = 0;
    for (int index = 0; index < total; index++) {
        committed += windows[index].committed;
        presented += windows[index].presented;
        discarded += windows[index].discarded;
    }
    printf("committed %llu presented %llu discarded %llu\n", (unsigned long long)committed,
        (unsigned long long)presented, (unsigned long long)discarded);
    wl_display_disconnect(desk.display);
    return 0;
}
