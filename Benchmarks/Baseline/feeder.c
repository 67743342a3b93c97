/* The producer that feeds the bare proxy and the bridge alike; it is not measured itself.
 * Usage: feeder SOCKET SURFACES FRAMES [SIDE [ACQUIRE [DELAY CARD [TIMES]]]]. Sends exactly FRAMES frames for each
 * surface, each after the one before was presented (or discarded), so that none is superseded; frames that can go
 * together go in one datagram. The buffers are memfds; with ACQUIRE they are udmabufs, and a frame comes with no fence
 * (none), with one that has signalled (signalled), or with one that does so DELAY microseconds after the frame was read
 * and its reader sleeps again (pending). Those are made by the test machine's module through its card; the next frame
 * comes after that, too. TIMES gets a line
 * "SURFACE SEQUENCE TIME" for each, the time on CLOCK_MONOTONIC just before it signals.
 * Then destroys the surfaces, waits for the end of every use and prints what it was told. A use that ends twice or
 * with another outcome than "shown", and a refusal, end it with status 1. */
#define _GNU_SOURCE
#include "../../Protocols/vm_bridge_source.h"
#include "../../Tests/vm/modules/vmbtest.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/sockios.h>
#include <linux/udmabuf.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

enum { BUFFERS = 3, MOST_SURFACES = 64, LOOK = 1000000 /* nanoseconds */ };

struct surface {
    uint64_t sent;                /* frames so far; the last one's sequence */
    uint64_t seen;                /* presented or discarded */
    uint64_t holds[BUFFERS];      /* sequence of the frame that holds a buffer, or 0 */
    uint32_t fence;               /* the last frame's, if it has not signalled, or 0 */
    uint64_t due;                 /* when it is to signal; 0 while the frame is not taken */
};

static struct surface surfaces[MOST_SURFACES];
static int surface_count, has_formats;
static uint64_t frames, presented, discarded, released;
static uint32_t side = 64;
static enum { MEMFD, NONE, SIGNALLED, PENDING } acquire;
static uint64_t delay; /* nanoseconds */
static int card = -1;
static FILE *times;
static unsigned char room[VMB_MAXIMUM_DATAGRAM], datagram[VMB_MAXIMUM_DATAGRAM];
static struct vmb_writer out;

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "feeder: %s: %s\n", what, strerror(errno));
    exit(1);
}

static _Noreturn void accuse(const char *what, uint64_t number) {
    fprintf(stderr, "feeder: %s (%llu)\n", what, (unsigned long long)number);
    exit(1);
}

static int connect_patiently(const char *path) {
    const struct timespec pause = {.tv_nsec = 20000000};
    for (int tries = 0; tries < 1500; tries++) {
        int bridge = vmb_connect(path);
        if (bridge >= 0)
            return bridge;
        if (errno != ENOENT && errno != ECONNREFUSED)
            break;
        nanosleep(&pause, NULL);
    }
    fail(path);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static uint64_t buffer_key(int surface, int index) { return (uint64_t)(surface * BUFFERS + index + 1); }

static void create_surface(int number) {
    struct vmb_surface_create create;
    vmb_record_init(&create, sizeof create, VMB_RECORD_SURFACE_CREATE, (uint64_t)number + 1);
    create.role = VMB_ROLE_TOPLEVEL;
    vmb_begin(&out, &create, sizeof create);
    vmb_add_text(&out, VMB_FIELD_TITLE, "bench feeder");
    vmb_add_text(&out, VMB_FIELD_APP_ID, "bench");
    if (vmb_end(&out) < 0)
        fail("SURFACE_CREATE");
}

static int add_buffer(int surface, int index) {
    struct vmb_buffer_create create;
    size_t bytes = (size_t)side * side * 4;
    /* The name is what the runner looks for among a daemon's descriptors. */
    int memory = memfd_create("bench-pixels", MFD_CLOEXEC | MFD_ALLOW_SEALING), device;
    struct udmabuf_create pages = {.memfd = (uint32_t)memory, .flags = UDMABUF_FLAGS_CLOEXEC, .size = bytes};
    if (memory < 0 || ftruncate(memory, (off_t)bytes) < 0 || fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
        fail("memfd");
    if (acquire != MEMFD) {
        device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
        memory = ioctl(device, UDMABUF_CREATE, &pages);
        if (memory < 0 || ioctl(memory, DMA_BUF_SET_NAME, "bench-pixels") < 0)
            fail("udmabuf");
        close(device);
        close((int)pages.memfd);
    }
    vmb_record_init(&create, sizeof create, VMB_RECORD_BUFFER_CREATE, buffer_key(surface, index));
    create.width = create.height = side;
    create.fourcc = VMB_FOURCC_XRGB8888;
    create.modifier = VMB_MODIFIER_LINEAR;
    create.memory = acquire == MEMFD ? VMB_MEMORY_MEMFD : VMB_MEMORY_DMA_BUF;
    create.plane_count = 1;
    create.planes[0].stride = side * 4;
    vmb_begin(&out, &create, sizeof create);
    vmb_add_descriptor(&out, memory);
    if (vmb_end(&out) < 0)
        fail("BUFFER_CREATE");
    return memory;
}

static void create_all(int bridge) {
    for (int number = 0; number < surface_count; number++) {
        int memories[BUFFERS];
        create_surface(number);
        for (int index = 0; index < BUFFERS; index++)
            memories[index] = add_buffer(number, index);
        if (vmb_send(bridge, &out, 0) < 0)
            fail("send");
        for (int index = 0; index < BUFFERS; index++)
            close(memories[index]);
    }
}

/* A fence for a surface's frame as a sync_file, which is to be closed after sending. */
static int make_fence(struct surface *surface) {
    struct vmbtest_fence fence = {.kind = acquire == PENDING ? VMBTEST_PENDING : VMBTEST_SIGNALLED,
        .flags = VMBTEST_SYNC_FILE};
    if (ioctl(card, DRM_IOCTL_VMBTEST_FENCE, &fence) < 0)
        fail("fence");
    surface->fence = fence.id;
    surface->due = 0;
    return fence.descriptor;
}

/* Whether the other side has read all that was sent and has nothing left to do. */
static int is_taken(int bridge) {
    static int stat = -1;
    char text[512] = "";
    const char *state;
    int unread = 0;
    if (stat < 0) {
        struct ucred peer;
        socklen_t size = sizeof peer;
        char path[32];
        if (getsockopt(bridge, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
            fail("SO_PEERCRED");
        snprintf(path, sizeof path, "/proc/%d/stat", peer.pid);
        stat = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (ioctl(bridge, SIOCOUTQ, &unread) < 0 || pread(stat, text, sizeof text - 1, 0) < 0)
        fail("the other side's state");
    state = strrchr(text, ')');
    return unread == 0 && state != NULL && state[1] == ' ' && state[2] == 'S';
}

/* Has the fences signal whose time has come. Returns when to look again, or 0. */
static uint64_t signal_fences(int bridge) {
    uint64_t next = 0, moment = acquire == PENDING ? now() : 0;
    for (int number = 0; number < surface_count; number++) {
        struct surface *surface = &surfaces[number];
        struct vmbtest_signal signal = {.id = surface->fence};
        if (surface->fence == 0)
            continue;
        if (surface->due == 0) {
            if (is_taken(bridge))
                surface->due = moment + delay;
            next = next == 0 || moment + LOOK < next ? moment + LOOK : next;
            continue;
        }
        if (surface->due > moment) {
            next = next == 0 || surface->due < next ? surface->due : next;
            continue;
        }
        moment = now();
        if (ioctl(card, DRM_IOCTL_VMBTEST_SIGNAL, &signal) < 0)
            fail("signal");
        surface->fence = 0;
        if (times != NULL)
            fprintf(times, "%d %llu %llu\n", number, (unsigned long long)surface->sent, (unsigned long long)moment);
    }
    return next;
}

/* The next frame of a surface, if it is its turn and a buffer is free. Returns its fence's descriptor, or -1. */
static int show_next(int number) {
    struct surface *surface = &surfaces[number];
    struct vmb_frame frame;
    struct vmb_rectangle damage = {0, 0, side, side};
    int index = 0, fence = -1;
    if (surface->sent == frames || surface->seen < surface->sent || surface->fence != 0)
        return -1;
    while (index < BUFFERS && surface->holds[index] != 0)
        index++;
    if (index == BUFFERS)
        return -1; /* a release is on its way */
    surface->holds[index] = ++surface->sent;
    vmb_record_init(&frame, sizeof frame, VMB_RECORD_FRAME, (uint64_t)number + 1);
    frame.buffer = buffer_key(number, index);
    frame.sequence = surface->sent;
    if (acquire == SIGNALLED || acquire == PENDING) {
        frame.acquire = VMB_ACQUIRE_SYNC_FILE;
        fence = make_fence(surface);
    }
    vmb_begin(&out, &frame, sizeof frame);
    if (fence >= 0)
        vmb_add_descriptor(&out, fence);
    vmb_add_field(&out, VMB_FIELD_DAMAGE, 0, &damage, sizeof damage);
    if (vmb_end(&out) < 0)
        fail("FRAME");
    return fence;
}

static struct surface *find(uint64_t key) {
    if (key < 1 || key > (uint64_t)surface_count)
        accuse("a record for a surface that is not ours", key);
    return &surfaces[key - 1];
}

static void take_released(const struct vmb_record *record) {
    struct vmb_released ended;
    if (vmb_read(record, &ended, sizeof ended) < 0)
        fail("RELEASED");
    struct surface *surface = find(ended.surface);
    uint64_t index = (record->object - 1) % BUFFERS;
    if (surface->holds[index] != ended.sequence || ended.sequence == 0)
        accuse("a use ended that had not begun, or had ended", ended.sequence);
    if (ended.outcome != VMB_OUTCOME_SHOWN)
        accuse("a use ended with another outcome than shown", ended.outcome);
    surface->holds[index] = 0;
    released++;
}

static void take_seen(const struct vmb_record *record, uint64_t *counter) {
    struct vmb_discarded seen; /* PRESENTED begins alike */
    if (vmb_read(record, &seen, sizeof seen) < 0)
        fail("PRESENTED");
    struct surface *surface = find(record->object);
    if (seen.sequence != surface->seen + 1 || seen.sequence > surface->sent)
        accuse("presented out of order", seen.sequence);
    surface->seen = seen.sequence;
    ++*counter;
}

static void take(const struct vmb_record *record) {
    struct vmb_field_view field;
    struct vmb_refused refused;
    char sentence[256];
    switch (record->type) {
    case VMB_RECORD_WELCOME:
        has_formats = vmb_find_field(record, sizeof(struct vmb_welcome), VMB_FIELD_FORMATS, &field)
            && field.length > 0;
        break;
    case VMB_RECORD_FORMATS_CHANGED:
        if (record->object != 0) /* one surface's preference */
            break;
        has_formats = vmb_find_field(record, sizeof(struct vmb_header), VMB_FIELD_FORMATS, &field) && field.length > 0;
        break;
    case VMB_RECORD_RELEASED: take_released(record); break;
    case VMB_RECORD_PRESENTED: take_seen(record, &presented); break;
    case VMB_RECORD_DISCARDED: take_seen(record, &discarded); break;
    case VMB_RECORD_REFUSED:
        memset(&refused, 0, sizeof refused);
        (void)vmb_read(record, &refused, sizeof refused);
        vmb_read_text(record, sizeof refused, VMB_FIELD_SENTENCE, sentence, sizeof sentence);
        fprintf(stderr, "feeder: refused: %s\n", sentence);
        accuse("reason", refused.reason);
    default: break; /* CONFIGURE: the size stays */
    }
}

/* Takes what comes; nothing if `until`, unless it is 0, is reached before. */
static void receive(int bridge, uint64_t until) {
    struct vmb_reader in;
    struct vmb_record record;
    int answer;
    if (until != 0) {
        struct pollfd wait = {.fd = bridge, .events = POLLIN};
        uint64_t moment = now(), left = until > moment ? until - moment : 0;
        struct timespec limit = {.tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000)};
        if (ppoll(&wait, 1, &limit, NULL) == 0)
            return;
    }
    answer = vmb_receive(bridge, &in, datagram, sizeof datagram, 0);
    if (answer == 0)
        errno = ECONNRESET;
    if (answer <= 0)
        fail("receive");
    while (vmb_next(&in, &record) > 0)
        take(&record);
    vmb_reader_close(&in);
}

static void take_options(int count, char **options) {
    static const char *const names[] = {"memfd", "none", "signalled", "pending"};
    for (unsigned index = 0; count > 0 && index < sizeof names / sizeof *names; index++)
        if (strcmp(options[0], names[index]) == 0)
            acquire = index;
    if (count > 2) {
        delay = strtoull(options[1], NULL, 10) * 1000;
        card = open(options[2], O_RDWR | O_CLOEXEC);
        if (card < 0)
            fail(options[2]);
    }
    if (count > 3 && (times = fopen(options[3], "w")) == NULL)
        fail(options[3]);
}

int main(int count, char **arguments) {
    int bridge, is_over = 0, fences[MOST_SURFACES];
    surface_count = count > 3 ? atoi(arguments[2]) : 0;
    frames = count > 3 ? strtoull(arguments[3], NULL, 10) : 0;
    if (count > 4)
        side = (uint32_t)atoi(arguments[4]);
    if (count > 5)
        take_options(count - 5, arguments + 5);
    if (surface_count < 1 || surface_count > MOST_SURFACES || frames < 1 || side < 1) {
        fprintf(stderr, "usage: feeder SOCKET SURFACES FRAMES [SIDE [none|signalled|pending [DELAY CARD [TIMES]]]]\n");
        return 64;
    }
    bridge = connect_patiently(arguments[1]);
    vmb_writer_init(&out, room, sizeof room);
    if (vmb_put_hello(&out, "bench feeder") < 0 || vmb_send(bridge, &out, 0) < 0)
        fail("HELLO");
    while (!has_formats)
        receive(bridge, 0);
    create_all(bridge);
    while (!is_over) {
        uint64_t next = signal_fences(bridge);
        is_over = 1;
        for (int number = 0; number < surface_count; number++) {
            fences[number] = show_next(number);
            is_over = is_over && surfaces[number].seen == frames && surfaces[number].fence == 0;
            if (fences[number] >= 0 && acquire == PENDING && next == 0)
                next = now() + LOOK;
        }
        if (vmb_send(bridge, &out, 0) < 0)
            fail("send");
        for (int number = 0; number < surface_count; number++)
            if (fences[number] >= 0)
                close(fences[number]);
        if (!is_over)
            receive(bridge, next);
    }
    for (int number = 0; number < surface_count; number++)
        if (vmb_put_bare(&out, VMB_RECORD_SURFACE_DESTROY, (uint64_t)number + 1) < 0)
            fail("SURFACE_DESTROY");
    if (vmb_send(bridge, &out, 0) < 0)
        fail("send");
    while (released < frames * (uint64_t)surface_count)
        receive(bridge, 0);
    if (times != NULL && fclose(times) != 0)
        fail("times");
    printf("presented %llu discarded %llu released %llu\n", (unsigned long long)presented,
        (unsigned long long)discarded, (unsigned long long)released);
    return 0;
}
