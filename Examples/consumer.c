/* A whole consumer from vm_bridge_source.h alone: takes the surfaces that a host's rules hand to it, waits for their fences,
 * reads linear pixels of four bytes, prints a line for each frame, and gives every buffer back.
 * Usage: consumer SOCKET [frames N] [ppm FILE] [fences] [skip]
 *   frames N   ends after N frames           ppm FILE   writes the last picture there at the end
 *   fences     takes frames before their content is complete, and waits for it here
 *   skip       reads nothing: gives frames back at once, with the fence that they came with, if any
 * Exits with 0 when it has had its frames, or the bridge ended the connection after at least one. */
#define _GNU_SOURCE
#include "../Protocols/vm_bridge_source.h"
#include <inttypes.h>
#include <linux/dma-buf.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { BUFFERS = 512, WAITING = 128 };

struct buffer {
    uint64_t key;
    struct vmb_buffer_create layout;
    int memory;
    unsigned char *bytes; /* null when it cannot be mapped */
    size_t size;
    int uses, destroyed;
};

struct frame {
    uint64_t surface, buffer, sequence;
    int fence; /* -1: none */
};

static struct buffer buffers[BUFFERS];
static struct frame waiting[WAITING];
static unsigned waiting_count;
static uint64_t frames, wanted;
static int bridge, skips;
static unsigned char room[8192], datagram[VMB_MAXIMUM_DATAGRAM];
static struct vmb_writer out;
static unsigned char *picture; /* the last one, three bytes a pixel */
static uint32_t picture_width, picture_height;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void flush(int ended) {
    if (ended < 0 || (vmb_send(bridge, &out, 0) < 0 && errno != EPIPE && errno != ECONNRESET))
        fail("send");
}

static struct buffer *find(uint64_t key) {
    for (int i = 0; i < BUFFERS; i++)
        if (buffers[i].key == key && key != 0)
            return &buffers[i];
    return NULL;
}

static void create(const struct vmb_record *record) {
    struct buffer *buffer = buffers;
    struct stat facts;
    off_t size = 0;
    while (buffer < buffers + BUFFERS && buffer->key != 0)
        buffer++;
    if (buffer == buffers + BUFFERS || record->descriptor_count == 0)
        return; /* no room: its frames are given back unread */
    memset(buffer, 0, sizeof *buffer);
    if (vmb_read(record, &buffer->layout, sizeof buffer->layout) < 0)
        return;
    buffer->key = record->object;
    buffer->memory = record->descriptors[0]; /* planes that lie elsewhere are not read here */
    record->descriptors[0] = -1;
    if (buffer->layout.memory == VMB_MEMORY_DMA_BUF)
        size = lseek(buffer->memory, 0, SEEK_END);
    else if (fstat(buffer->memory, &facts) == 0)
        size = facts.st_size;
    if (size <= 0)
        return;
    /* For reading only: a memfd comes so. */
    buffer->bytes = (unsigned char *)mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, buffer->memory, 0);
    buffer->size = (size_t)size;
    if (buffer->bytes == MAP_FAILED)
        buffer->bytes = NULL;
}

static void forget(struct buffer *buffer) {
    if (buffer == NULL || buffer->uses > 0 || !buffer->destroyed)
        return;
    if (buffer->bytes != NULL)
        munmap(buffer->bytes, buffer->size);
    close(buffer->memory);
    memset(buffer, 0, sizeof *buffer);
}

/* Reads the picture: its checksum (FNV-1a of the colours, row by row from the top), or 0 for what it cannot read. */
static uint64_t read_picture(const struct buffer *buffer) {
    const struct vmb_buffer_create *layout = &buffer->layout;
    uint64_t sum = UINT64_C(0xcbf29ce484222325);
    uint64_t end = layout->planes[0].offset + (uint64_t)layout->planes[0].stride * layout->height;
    struct dma_buf_sync sync = {DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ};
    int is_blue_first = layout->fourcc == VMB_FOURCC_XRGB8888 || layout->fourcc == VMB_FOURCC_ARGB8888;
    int is_red_first = layout->fourcc == VMB_FOURCC_XBGR8888 || layout->fourcc == VMB_FOURCC_ABGR8888;
    unsigned char *colours;
    if (buffer->bytes == NULL || layout->modifier != VMB_MODIFIER_LINEAR || (!is_blue_first && !is_red_first)
        || end > buffer->size || (uint64_t)layout->width * 4 > layout->planes[0].stride)
        return 0;
    colours = (unsigned char *)realloc(picture, (size_t)layout->width * layout->height * 3);
    if (colours == NULL)
        return 0;
    picture = colours;
    picture_width = layout->width;
    picture_height = layout->height;
    if (layout->memory == VMB_MEMORY_DMA_BUF)
        ioctl(buffer->memory, DMA_BUF_IOCTL_SYNC, &sync);
    for (uint32_t y = 0; y < layout->height; y++) {
        uint32_t row = layout->flags & VMB_BUFFER_BOTTOM_UP ? layout->height - 1 - y : y;
        const unsigned char *pixel = buffer->bytes + layout->planes[0].offset + (size_t)row * layout->planes[0].stride;
        for (uint32_t x = 0; x < layout->width; x++, pixel += 4, colours += 3) {
            colours[0] = pixel[is_blue_first ? 2 : 0];
            colours[1] = pixel[1];
            colours[2] = pixel[is_blue_first ? 0 : 2];
            for (int i = 0; i < 3; i++)
                sum = (sum ^ colours[i]) * UINT64_C(0x100000001b3);
        }
    }
    sync.flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ;
    if (layout->memory == VMB_MEMORY_DMA_BUF)
        ioctl(buffer->memory, DMA_BUF_IOCTL_SYNC, &sync);
    return sum;
}

/* The frame's use ends, now or, with a fence, when that signals. */
static void release(const struct frame *frame, int fence) {
    struct vmb_released released;
    struct buffer *buffer = find(frame->buffer);
    vmb_record_init(&released, sizeof released, VMB_RECORD_RELEASED, frame->buffer);
    released.surface = frame->surface;
    released.sequence = frame->sequence;
    released.outcome = VMB_OUTCOME_SHOWN;
    released.fence = fence >= 0;
    vmb_begin(&out, &released, sizeof released);
    if (fence >= 0)
        vmb_add_descriptor(&out, fence);
    flush(vmb_end(&out));
    if (buffer != NULL) {
        buffer->uses--;
        forget(buffer);
    }
}

static void show(const struct frame *frame, const char *how) {
    struct vmb_presented presented;
    struct buffer *buffer = find(frame->buffer);
    if (skips) {
        printf("frame %" PRIu64 " of surface %" PRIu64 ": skipped, %s\n", frame->sequence, frame->surface, how);
    } else {
        uint64_t sum = buffer != NULL ? read_picture(buffer) : 0;
        printf("frame %" PRIu64 " of surface %" PRIu64 ": %u x %u, checksum %016" PRIx64 ", %s\n", frame->sequence,
            frame->surface, buffer != NULL ? buffer->layout.width : 0, buffer != NULL ? buffer->layout.height : 0, sum,
            how);
        vmb_record_init(&presented, sizeof presented, VMB_RECORD_PRESENTED, frame->surface);
        presented.sequence = frame->sequence; /* time 0: not known */
        flush(vmb_put(&out, &presented, sizeof presented));
    }
    fflush(stdout);
    release(frame, skips ? frame->fence : -1);
    if (frame->fence >= 0)
        close(frame->fence);
    frames++;
}

static void take_frame(const struct vmb_record *record) {
    struct vmb_frame body;
    struct frame frame;
    struct buffer *buffer;
    if (vmb_read(record, &body, sizeof body) < 0)
        return;
    frame.surface = record->object;
    frame.buffer = body.buffer;
    frame.sequence = body.sequence;
    frame.fence = -1;
    buffer = find(frame.buffer);
    if (buffer != NULL)
        buffer->uses++;
    if (body.acquire == VMB_ACQUIRE_SYNC_FILE && record->descriptor_count == 1) {
        frame.fence = record->descriptors[0];
        record->descriptors[0] = -1;
        if (!skips && waiting_count < WAITING) {
            waiting[waiting_count++] = frame;
            return;
        }
    }
    show(&frame, frame.fence >= 0 ? "its fence passed on" : "no fence");
}

static void handle(const struct vmb_record *record) {
    struct vmb_surface_create surface;
    struct vmb_refused refused;
    struct buffer *buffer;
    char title[300], origin[80];
    if (record->type == VMB_RECORD_BUFFER_CREATE) {
        create(record);
    } else if (record->type == VMB_RECORD_BUFFER_DESTROY) {
        buffer = find(record->object);
        if (buffer != NULL)
            buffer->destroyed = 1;
        forget(buffer);
    } else if (record->type == VMB_RECORD_SURFACE_CREATE && vmb_read(record, &surface, sizeof surface) == 0) {
        vmb_read_text(record, sizeof surface, VMB_FIELD_TITLE, title, sizeof title);
        vmb_read_text(record, sizeof surface, VMB_FIELD_ORIGIN_VM, origin, sizeof origin);
        printf("surface %" PRIu64 " of VM %s, %s: %s\n", record->object, origin,
            surface.content == VMB_CONTENT_GRAPHICS ? "graphics" : "other content", title);
    } else if (record->type == VMB_RECORD_SURFACE_DESTROY) {
        printf("surface %" PRIu64 " is gone\n", record->object);
    } else if (record->type == VMB_RECORD_FRAME) {
        take_frame(record);
    } else if (record->type == VMB_RECORD_REFUSED && vmb_read(record, &refused, sizeof refused) == 0) {
        vmb_read_text(record, sizeof refused, VMB_FIELD_SENTENCE, title, sizeof title);
        fprintf(stderr, "refused (%u): %s\n", refused.reason, title);
        exit(1);
    } /* others: skipped */
    fflush(stdout);
}

/* Shows the frames whose fences have signalled; `items` says which of them did. */
static void look_at_fences(const struct pollfd *items) {
    unsigned kept = 0;
    for (unsigned i = 0; i < waiting_count; i++) {
        if (items[i].revents != 0)
            show(&waiting[i], "after its fence");
        else
            waiting[kept++] = waiting[i];
    }
    waiting_count = kept;
}

static void write_picture(const char *path) {
    FILE *file = fopen(path, "wb");
    if (file == NULL || picture == NULL)
        fail(path);
    fprintf(file, "P6\n%u %u\n255\n", picture_width, picture_height);
    fwrite(picture, 3, (size_t)picture_width * picture_height, file);
    if (fclose(file) != 0)
        fail(path);
}

int main(int count, char **arguments) {
    const char *file = NULL;
    int fences = 0, open = 1;
    for (int i = 2; i < count; i++) {
        if (strcmp(arguments[i], "frames") == 0 && i + 1 < count)
            wanted = strtoull(arguments[++i], NULL, 10);
        else if (strcmp(arguments[i], "ppm") == 0 && i + 1 < count)
            file = arguments[++i];
        else if (strcmp(arguments[i], "fences") == 0)
            fences = 1;
        else if (strcmp(arguments[i], "skip") == 0)
            skips = 1;
        else
            count = 1;
    }
    bridge = count > 1 ? vmb_connect(arguments[1]) : -1;
    if (bridge < 0)
        fail(count > 1 ? arguments[1] : "usage: consumer SOCKET [frames N] [ppm FILE] [fences] [skip]");
    vmb_writer_init(&out, room, sizeof room);
    flush(vmb_put_consumer_hello(&out, "consumer", fences));
    while (open && (wanted == 0 || frames < wanted)) {
        struct pollfd items[1 + WAITING] = {{bridge, POLLIN, 0}};
        unsigned waits = waiting_count;
        struct vmb_reader in;
        struct vmb_record record;
        for (unsigned i = 0; i < waits; i++)
            items[1 + i] = (struct pollfd){waiting[i].fence, POLLIN, 0};
        if (poll(items, 1 + waits, -1) < 0)
            fail("poll");
        look_at_fences(items + 1);
        if (items[0].revents == 0)
            continue;
        open = vmb_receive(bridge, &in, datagram, sizeof datagram, 0) > 0;
        while (open && vmb_next(&in, &record) > 0)
            handle(&record);
        vmb_reader_close(&in);
    }
    if (file != NULL)
        write_picture(file);
    return frames > 0 ? 0 : 1;
}
