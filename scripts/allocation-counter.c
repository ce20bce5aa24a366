/* Counts allocations for `flotilla bench engines`: loaded in front of the C library by scripts/bench-engines.
 * The program asks for the count by name and shows a column of its own when it finds it. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static uint64_t count;

static void counted(void) { __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED); }

uint64_t flotilla_allocation_count(void) { return __atomic_load_n(&count, __ATOMIC_RELAXED); }

void *malloc(size_t bytes) {
    counted();
    return __libc_malloc(bytes);
}

void *calloc(size_t number, size_t bytes) {
    counted();
    return __libc_calloc(number, bytes);
}

void *realloc(void *old, size_t bytes) {
    counted();
    return __libc_realloc(old, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    counted();
    return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **place, size_t alignment, size_t bytes) {
    counted();
    *place = __libc_memalign(alignment, bytes);
    return *place ? 0 : ENOMEM;
}
