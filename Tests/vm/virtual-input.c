// virtual-input: a pointer and a keyboard that do what lines on standard input say, on a compositor with
// wlr-virtual-pointer-unstable-v1 and virtual-keyboard-unstable-v1 (wlroots). Both stay as long as the program runs, so
// that a seat keeps what it has; tools that make and end a device for each event cannot be followed.
//
//   place X Y WIDTH HEIGHT    the pointer, absolutely, on an output of that size
//   button CODE 0|1           of linux/input-event-codes.h
//   wheel AXIS NOTCHES        0 vertical, 1 horizontal; 15 units each
//   finger AXIS UNITS         scrolls like a finger, which is lifted then if UNITS is 0
//   key CODE 0|1
//   modifiers DEPRESSED LOCKED
//   sync                      prints "synced" when the compositor has handled all that came before
//
// No library: the wire is words in the machine's order, and one descriptor. A fault ends the program with a sentence.
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { display = 1 };

static int fd;
// Numbers of objects are given out in order, or the compositor refuses them.
static uint32_t next_object = 2, registry, seat, pointers, keyboards, pointer, keyboard;

static void fail(const char *what) {
    fprintf(stderr, "virtual-input: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void send_words(uint32_t object, uint32_t opcode, const uint32_t *words, int count, int passed) {
    uint32_t message[64] = {object, (uint32_t)(8 + count * 4) << 16 | opcode};
    memcpy(message + 2, words, (size_t)count * 4);
    struct iovec data = {message, (size_t)(8 + count * 4)};
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr header = {.msg_iov = &data, .msg_iovlen = 1};
    if (passed >= 0) {
        header.msg_control = control;
        header.msg_controllen = sizeof control;
        struct cmsghdr *item = CMSG_FIRSTHDR(&header);
        item->cmsg_level = SOL_SOCKET;
        item->cmsg_type = SCM_RIGHTS;
        item->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(item), &passed, sizeof(int));
    }
    if (sendmsg(fd, &header, MSG_NOSIGNAL) != (ssize_t)data.iov_len) fail("the compositor takes nothing");
}
#define SEND(object, opcode, ...)                                                                                      \
    send_words(object, opcode, (uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / 4, -1)

// Binds a global: name, interface as a string, version, new object.
static void bind_global(uint32_t name, const char *interface, uint32_t version, uint32_t object) {
    uint32_t words[32] = {name, (uint32_t)strlen(interface) + 1};
    int count = 2 + ((int)strlen(interface) + 4) / 4;
    memcpy(words + 2, interface, strlen(interface));
    words[count++] = version;
    words[count++] = object;
    send_words(registry, 0, words, count, -1);
}

// Reads events until the answer to a sync; binds what is wanted on the way. The rest is of no interest.
static void sync_up(void) {
    static char bytes[65536];
    static size_t have;
    static const struct { const char *interface; uint32_t *object; } wanted[] = {
        {"wl_seat", &seat}, {"zwlr_virtual_pointer_manager_v1", &pointers}, {"zwp_virtual_keyboard_manager_v1", &keyboards}};
    uint32_t callback = next_object++;
    SEND(display, 0, callback);
    for (;;) {
        while (have >= 8) {
            uint32_t head[2], name;
            memcpy(head, bytes, 8);
            size_t size = head[1] >> 16;
            if (size < 8 || size > sizeof bytes) errno = EPROTO, fail("a broken event");
            if (have < size) break;
            int is_answer = head[0] == callback;
            if (head[0] == display && (head[1] & 0xffff) == 0 && size > 20) {
                fprintf(stderr, "virtual-input: %.*s\n", (int)size - 20, bytes + 20);
                exit(1);
            }
            if (head[0] == registry && (head[1] & 0xffff) == 0 && size > 16) {
                memcpy(&name, bytes + 8, 4);
                for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++)
                    if (!*wanted[i].object && !strncmp(bytes + 16, wanted[i].interface, size - 16))
                        bind_global(name, wanted[i].interface, 1, *wanted[i].object = next_object++);
            }
            memmove(bytes, bytes + size, have -= size);
            if (is_answer) return;
        }
        ssize_t got = recv(fd, bytes + have, sizeof bytes - have, 0);
        if (got <= 0) fail("the compositor is gone");
        have += (size_t)got;
    }
}

static uint32_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint32_t)(time.tv_sec * 1000 + time.tv_nsec / 1000000);
}

static void set_keymap(void) {
    static const char text[] = "xkb_keymap { xkb_keycodes { include \"evdev+aliases(qwerty)\" }; xkb_types { include \"complete\" };"
                               " xkb_compat { include \"complete\" }; xkb_symbols { include \"pc+us+inet(evdev)\" }; };";
    int file = memfd_create("keymap", MFD_CLOEXEC);
    if (file < 0 || write(file, text, sizeof text) != sizeof text) fail("the keymap");
    send_words(keyboard, 0, (uint32_t[]){1, sizeof text}, 2, file);
    close(file);
}

static void obey(const char *line) {
    int a, b, c, d;
    if (sscanf(line, "place %d %d %d %d", &a, &b, &c, &d) == 4) {
        SEND(pointer, 1, now(), (uint32_t)a, (uint32_t)b, (uint32_t)c, (uint32_t)d);
        SEND(pointer, 4);
    } else if (sscanf(line, "button %d %d", &a, &b) == 2) {
        SEND(pointer, 2, now(), (uint32_t)a, (uint32_t)b);
        SEND(pointer, 4);
    } else if (sscanf(line, "wheel %d %d", &a, &b) == 2) {
        SEND(pointer, 5, 0);
        SEND(pointer, 7, now(), (uint32_t)a, (uint32_t)(b * 15 * 256), (uint32_t)b);
        SEND(pointer, 4);
    } else if (sscanf(line, "finger %d %d", &a, &b) == 2) {
        SEND(pointer, 5, 1);
        if (b == 0) SEND(pointer, 6, now(), (uint32_t)a);
        else SEND(pointer, 3, now(), (uint32_t)a, (uint32_t)(b * 256));
        SEND(pointer, 4);
    } else if (sscanf(line, "key %d %d", &a, &b) == 2) {
        SEND(keyboard, 1, now(), (uint32_t)a, (uint32_t)b);
    } else if (sscanf(line, "modifiers %d %d", &a, &b) == 2) {
        SEND(keyboard, 2, (uint32_t)a, 0, (uint32_t)b, 0);
    } else if (!strcmp(line, "sync\n")) {
        sync_up();
        puts("synced");
    } else {
        fprintf(stderr, "virtual-input: cannot read: %s", line);
        exit(2);
    }
}

int main(void) {
    const char *directory = getenv("XDG_RUNTIME_DIR"), *name = getenv("WAYLAND_DISPLAY");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", directory ? directory : "", name ? name : "");
    if (length >= (int)sizeof address.sun_path) errno = ENAMETOOLONG, fail("the socket");
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail(address.sun_path);
    setvbuf(stdout, NULL, _IOLBF, 0);
    SEND(display, 1, registry = next_object++);
    sync_up();
    if (!seat || !pointers || !keyboards) errno = ENOTSUP, fail("no seat, or nothing to play one with");
    SEND(pointers, 0, seat, pointer = next_object++);
    SEND(keyboards, 0, seat, keyboard = next_object++);
    set_keymap();
    sync_up();
    puts("ready");
    char line[256];
    while (fgets(line, sizeof line, stdin)) obey(line);
    return 0;
}
