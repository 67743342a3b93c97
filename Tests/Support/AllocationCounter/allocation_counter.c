// The test program's own malloc family: glibc's, and a counter for each thread. A program's symbols
// go before those of its libraries, so that everything in the process allocates through these.
#include "allocation_counter.h"

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

static _Thread_local _Bool counting;
static _Thread_local unsigned long count;

#ifndef SANITIZED

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t number, size_t size);
extern void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size) {
    if (counting) count++;
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    if (counting) count++;
    return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size) {
    if (counting) count++;
    return __libc_realloc(old, size);
}

_Bool allocation_counter_available(void) { return 1; }

#else

_Bool allocation_counter_available(void) { return 0; }

#endif

void allocation_counter_start(void) {
    count = 0;
    counting = 1;
}

unsigned long allocation_counter_stop(void) {
    counting = 0;
    return count;
}
