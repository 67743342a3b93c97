/* Counts a program's allocations by who asked for them. Preloaded (LD_PRELOAD); needs glibc.
 * At the end one line goes to the file that BENCH_MALLOCS names:
 *     library N ours N system N early N peak_kib N
 * "library": the caller is libwayland or libffi. "system": another shared library (libc's own, libstdc++).
 * "ours": the program itself; a Swift program with the run time linked in counts whole. "early": before the libraries
 * were known. "peak_kib": the most memory that was resident (VmHWM). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

enum owner { LIBRARY, OURS, SYSTEM, EARLY, OWNERS };

struct range {
    uintptr_t start, end;
    enum owner owner;
};

static struct range ranges[256];
static int range_count, is_known;
static uint64_t counts[OWNERS];

static int note(struct dl_phdr_info *info, size_t size, void *data) {
    enum owner owner = SYSTEM;
    (void)size, (void)data;
    if (info->dlpi_name == NULL || info->dlpi_name[0] == 0)
        owner = OURS; /* the program has no name here */
    else if (strstr(info->dlpi_name, "libwayland-client") || strstr(info->dlpi_name, "libffi"))
        owner = LIBRARY;
    for (int index = 0; index < info->dlpi_phnum && range_count < 256; index++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[index];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
            continue;
        ranges[range_count].start = info->dlpi_addr + part->p_vaddr;
        ranges[range_count].end = ranges[range_count].start + part->p_memsz;
        ranges[range_count++].owner = owner;
    }
    return 0;
}

__attribute__((constructor)) static void learn(void) {
    dl_iterate_phdr(note, NULL);
    is_known = 1;
}

static void count(const void *caller) {
    enum owner owner = is_known ? SYSTEM : EARLY;
    for (int index = 0; is_known && index < range_count; index++)
        if ((uintptr_t)caller >= ranges[index].start && (uintptr_t)caller < ranges[index].end)
            owner = ranges[index].owner;
    __atomic_fetch_add(&counts[owner], 1, __ATOMIC_RELAXED);
}

#define CALLER __builtin_extract_return_addr(__builtin_return_address(0))

void *malloc(size_t bytes) {
    count(CALLER);
    return __libc_malloc(bytes);
}

void *calloc(size_t number, size_t bytes) {
    count(CALLER);
    return __libc_calloc(number, bytes);
}

void *realloc(void *old, size_t bytes) {
    count(CALLER);
    return __libc_realloc(old, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    count(CALLER);
    return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **place, size_t alignment, size_t bytes) {
    void *memory;
    count(CALLER);
    memory = __libc_memalign(alignment, bytes);
    if (memory == NULL)
        return 12; /* ENOMEM: errno is not to be touched */
    *place = memory;
    return 0;
}

static unsigned long peak(void) {
    char text[4096];
    const char *line;
    int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t bytes = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0)
        close(file);
    if (bytes <= 0)
        return 0;
    text[bytes] = 0;
    line = strstr(text, "VmHWM:");
    return line == NULL ? 0 : strtoul(line + strlen("VmHWM:"), NULL, 10);
}

__attribute__((destructor)) static void tell(void) {
    const char *path = getenv("BENCH_MALLOCS");
    char text[256];
    int file, length;
    if (path == NULL)
        return;
    file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    length = snprintf(text, sizeof text, "library %llu ours %llu system %llu early %llu peak_kib %lu\n",
        (unsigned long long)counts[LIBRARY], (unsigned long long)counts[OURS], (unsigned long long)counts[SYSTEM],
        (unsigned long long)counts[EARLY], peak());
    if (file < 0 || write(file, text, (size_t)length) != length) {
        static const char complaint[] = "mallocs: cannot write the file that BENCH_MALLOCS names\n";
        (void)!write(2, complaint, sizeof complaint - 1);
    }
    if (file >= 0)
        close(file);
}
