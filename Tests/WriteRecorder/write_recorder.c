/*
 * Loaded with LD_PRELOAD: writes down every call that changes files under FLOTILLA_RECORD_DIRECTORY, with what was
 * written, into FLOTILLA_RECORD_TRACE, in the order in which the calls returned. What the program says on standard
 * output goes into the same trace, so that it shows what had been promised at each point.
 *
 * One lock is held over the call and its record. It makes the order exact, and a sync then covers precisely the
 * writes that stand before it.
 *
 * Not recorded: writes through stdio (RocksDB's LOG), and what is stored through a shared map (noted as a map).
 */
#define _GNU_SOURCE
#include "write_recorder.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int trace = -1;
static char directory[PATH_MAX];
static size_t directory_length;
static pid_t owner;
/* Descriptors of files under the directory. */
static unsigned char watched[DESCRIPTORS_MAX];

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_truncate)(const char *, off_t);
static int (*real_fallocate)(int, int, off_t, off_t);
static int (*real_posix_fallocate)(int, off_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_rename)(const char *, const char *);
static int (*real_renameat)(int, const char *, int, const char *);
static int (*real_link)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_unlinkat)(int, const char *, int);
static int (*real_mkdir)(const char *, mode_t);
static int (*real_rmdir)(const char *);
static void *(*real_mmap)(void *, size_t, int, int, int, off_t);

static void resolve(void) {
    *(void **)&real_open = dlsym(RTLD_NEXT, "open");
    *(void **)&real_openat = dlsym(RTLD_NEXT, "openat");
    *(void **)&real_close = dlsym(RTLD_NEXT, "close");
    *(void **)&real_write = dlsym(RTLD_NEXT, "write");
    *(void **)&real_writev = dlsym(RTLD_NEXT, "writev");
    *(void **)&real_pwrite = dlsym(RTLD_NEXT, "pwrite");
    *(void **)&real_pwritev = dlsym(RTLD_NEXT, "pwritev");
    *(void **)&real_ftruncate = dlsym(RTLD_NEXT, "ftruncate");
    *(void **)&real_truncate = dlsym(RTLD_NEXT, "truncate");
    *(void **)&real_fallocate = dlsym(RTLD_NEXT, "fallocate");
    *(void **)&real_posix_fallocate = dlsym(RTLD_NEXT, "posix_fallocate");
    *(void **)&real_fsync = dlsym(RTLD_NEXT, "fsync");
    *(void **)&real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    *(void **)&real_rename = dlsym(RTLD_NEXT, "rename");
    *(void **)&real_renameat = dlsym(RTLD_NEXT, "renameat");
    *(void **)&real_link = dlsym(RTLD_NEXT, "link");
    *(void **)&real_unlink = dlsym(RTLD_NEXT, "unlink");
    *(void **)&real_unlinkat = dlsym(RTLD_NEXT, "unlinkat");
    *(void **)&real_mkdir = dlsym(RTLD_NEXT, "mkdir");
    *(void **)&real_rmdir = dlsym(RTLD_NEXT, "rmdir");
    *(void **)&real_mmap = dlsym(RTLD_NEXT, "mmap");
}

static pthread_once_t resolved = PTHREAD_ONCE_INIT;
/* Other libraries may call before our constructor has run. */
#define READY() pthread_once(&resolved, resolve)

static void fail(const char *what) {
    static const char text[] = "write recorder: ";
    (void)!real_write(2, text, sizeof text - 1);
    (void)!real_write(2, what, strlen(what));
    (void)!real_write(2, "\n", 1);
    _exit(70);
}

__attribute__((constructor)) static void begin(void) {
    READY();
    const char *place = getenv("FLOTILLA_RECORD_DIRECTORY");
    const char *file = getenv("FLOTILLA_RECORD_TRACE");
    if (!place || !file) return;
    if (!realpath(place, directory)) fail("FLOTILLA_RECORD_DIRECTORY can't be resolved");
    directory_length = strlen(directory);
    int opened = real_open(file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (opened < 0) fail("FLOTILLA_RECORD_TRACE can't be opened");
    /* Out of the way of programs that count on low numbers. */
    trace = fcntl(opened, F_DUPFD_CLOEXEC, 1000);
    if (trace < 0) trace = opened;
    else real_close(opened);
    owner = getpid();
}

/* Writes the name relative to the directory; false if it lies elsewhere. `base` is what a relative path begins at. */
static int relative(int base, const char *path, char out[PATH_MAX]) {
    if (trace < 0 || getpid() != owner) return 0;
    char full[PATH_MAX];
    if (path[0] == '/') {
        if (snprintf(full, sizeof full, "%s", path) >= (int)sizeof full) return 0;
    } else {
        char start[PATH_MAX];
        if (base == AT_FDCWD) {
            if (!getcwd(start, sizeof start)) return 0;
        } else {
            char link_name[64];
            snprintf(link_name, sizeof link_name, "/proc/self/fd/%d", base);
            ssize_t length = readlink(link_name, start, sizeof start - 1);
            if (length < 0) return 0;
            start[length] = 0;
        }
        if (snprintf(full, sizeof full, "%s/%s", start, path) >= (int)sizeof full) return 0;
    }
    /* "//", "/./" and a slash at the end don't change what is meant. */
    size_t to = 0;
    for (size_t from = 0; full[from]; from++) {
        if (full[from] == '/') {
            if (full[from + 1] == '/' || full[from + 1] == 0) continue;
            if (full[from + 1] == '.' && (full[from + 2] == '/' || full[from + 2] == 0)) {
                from += 1;
                continue;
            }
        }
        full[to++] = full[from];
    }
    full[to] = 0;
    if (strncmp(full, directory, directory_length) != 0) return 0;
    if (full[directory_length] == 0) {
        out[0] = 0;
        return 1;
    }
    if (full[directory_length] != '/') return 0;
    strcpy(out, full + directory_length + 1);
    return 1;
}

static void put(const void *bytes, size_t length) {
    const char *at = bytes;
    while (length > 0) {
        ssize_t count = real_write(trace, at, length);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) fail("the trace can't be written");
        at += count;
        length -= (size_t)count;
    }
}

static void record(
    enum flotilla_trace_kind kind, int descriptor, uint32_t flags, const char *name, uint64_t offset, uint64_t value,
    const struct iovec *data, int parts, size_t length) {
    int saved = errno;
    struct flotilla_trace_head head = {
        .kind = kind,
        .descriptor = descriptor,
        .flags = flags,
        .name_length = name ? (uint32_t)strlen(name) : 0,
        .offset = offset,
        .value = value,
        .data_length = length,
    };
    put(&head, sizeof head);
    if (name) put(name, head.name_length);
    for (int part = 0; part < parts && length > 0; part++) {
        size_t count = data[part].iov_len < length ? data[part].iov_len : length;
        put(data[part].iov_base, count);
        length -= count;
    }
    errno = saved;
}

static void record_names(enum flotilla_trace_kind kind, const char *name, const char *second) {
    struct iovec data = {(void *)second, second ? strlen(second) : 0};
    record(kind, -1, 0, name, 0, 0, &data, second ? 1 : 0, data.iov_len);
}

static int is_watched(int descriptor) {
    return trace >= 0 && descriptor >= 0 && descriptor < DESCRIPTORS_MAX && watched[descriptor];
}

static int opened(int descriptor, int base, const char *path, int flags) {
    char name[PATH_MAX];
    if (descriptor >= 0 && relative(base, path, name)) {
        if (descriptor >= DESCRIPTORS_MAX) fail("too many descriptors");
        watched[descriptor] = 1;
        record(flotilla_trace_open, descriptor, 0, name, 0, (uint64_t)flags, NULL, 0, 0);
    }
    return descriptor;
}

static mode_t mode_argument(int flags, va_list arguments) {
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    READY();
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    pthread_mutex_lock(&lock);
    int result = opened(real_open(path, flags, mode), AT_FDCWD, path, flags);
    pthread_mutex_unlock(&lock);
    return result;
}

int openat(int base, const char *path, int flags, ...) {
    READY();
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    pthread_mutex_lock(&lock);
    int result = opened(real_openat(base, path, flags, mode), base, path, flags);
    pthread_mutex_unlock(&lock);
    return result;
}

int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int descriptor) {
    READY();
    pthread_mutex_lock(&lock);
    if (is_watched(descriptor)) {
        watched[descriptor] = 0;
        record(flotilla_trace_close, descriptor, 0, NULL, 0, 0, NULL, 0, 0);
    }
    int result = real_close(descriptor);
    pthread_mutex_unlock(&lock);
    return result;
}

/* A write at the descriptor's own position, which lies behind what was written. */
static ssize_t wrote(int descriptor, const struct iovec *data, int parts, ssize_t count) {
    if (count > 0 && trace >= 0 && descriptor == 1 && getpid() == owner) {
        record(flotilla_trace_say, 1, 0, NULL, 0, 0, data, parts, (size_t)count);
    } else if (count > 0 && is_watched(descriptor)) {
        off_t end = lseek(descriptor, 0, SEEK_CUR);
        record(flotilla_trace_write, descriptor, 0, NULL, (uint64_t)(end - count), 0, data, parts, (size_t)count);
    }
    return count;
}

ssize_t write(int descriptor, const void *bytes, size_t length) {
    READY();
    struct iovec data = {(void *)bytes, length};
    pthread_mutex_lock(&lock);
    ssize_t result = wrote(descriptor, &data, 1, real_write(descriptor, bytes, length));
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t writev(int descriptor, const struct iovec *data, int parts) {
    READY();
    pthread_mutex_lock(&lock);
    ssize_t result = wrote(descriptor, data, parts, real_writev(descriptor, data, parts));
    pthread_mutex_unlock(&lock);
    return result;
}

static ssize_t wrote_at(int descriptor, const struct iovec *data, int parts, off_t offset, ssize_t count) {
    if (count > 0 && is_watched(descriptor))
        record(flotilla_trace_write, descriptor, 0, NULL, (uint64_t)offset, 0, data, parts, (size_t)count);
    return count;
}

ssize_t pwrite(int descriptor, const void *bytes, size_t length, off_t offset) {
    READY();
    struct iovec data = {(void *)bytes, length};
    pthread_mutex_lock(&lock);
    ssize_t result = wrote_at(descriptor, &data, 1, offset, real_pwrite(descriptor, bytes, length, offset));
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t pwritev(int descriptor, const struct iovec *data, int parts, off_t offset) {
    READY();
    pthread_mutex_lock(&lock);
    ssize_t result = wrote_at(descriptor, data, parts, offset, real_pwritev(descriptor, data, parts, offset));
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int descriptor, off_t size) {
    READY();
    pthread_mutex_lock(&lock);
    int result = real_ftruncate(descriptor, size);
    if (result == 0 && is_watched(descriptor))
        record(flotilla_trace_truncate, descriptor, 0, NULL, (uint64_t)size, 0, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int truncate(const char *path, off_t size) {
    READY();
    char name[PATH_MAX];
    pthread_mutex_lock(&lock);
    int result = real_truncate(path, size);
    if (result == 0 && relative(AT_FDCWD, path, name))
        record(flotilla_trace_truncate, -1, 0, name, (uint64_t)size, 0, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int fallocate(int descriptor, int mode, off_t offset, off_t length) {
    READY();
    pthread_mutex_lock(&lock);
    int result = real_fallocate(descriptor, mode, offset, length);
    if (result == 0 && is_watched(descriptor))
        record(flotilla_trace_allocate, descriptor, (uint32_t)mode, NULL, (uint64_t)offset, (uint64_t)length, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int posix_fallocate(int descriptor, off_t offset, off_t length) {
    READY();
    pthread_mutex_lock(&lock);
    int result = real_posix_fallocate(descriptor, offset, length);
    if (result == 0 && is_watched(descriptor))
        record(flotilla_trace_allocate, descriptor, 0, NULL, (uint64_t)offset, (uint64_t)length, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

static int synced(int descriptor, int (*sync)(int)) {
    pthread_mutex_lock(&lock);
    int result = sync(descriptor);
    if (result == 0 && is_watched(descriptor)) record(flotilla_trace_sync, descriptor, 0, NULL, 0, 0, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int descriptor) {
    READY();
    return synced(descriptor, real_fsync);
}

int fdatasync(int descriptor) {
    READY();
    return synced(descriptor, real_fdatasync);
}

/* Both ends under the directory: engines don't move files in or out while they are recorded. */
static void moved(int from_base, const char *from, int to_base, const char *to, enum flotilla_trace_kind kind) {
    char old_name[PATH_MAX], new_name[PATH_MAX];
    int is_from = relative(from_base, from, old_name), is_to = relative(to_base, to, new_name);
    if (is_from != is_to) fail("a file crosses the border of the recorded directory");
    if (is_from) record_names(kind, old_name, new_name);
}

int rename(const char *from, const char *to) {
    READY();
    pthread_mutex_lock(&lock);
    int result = real_rename(from, to);
    if (result == 0) moved(AT_FDCWD, from, AT_FDCWD, to, flotilla_trace_rename);
    pthread_mutex_unlock(&lock);
    return result;
}

int renameat(int from_base, const char *from, int to_base, const char *to) {
    READY();
    pthread_mutex_lock(&lock);
    int result = real_renameat(from_base, from, to_base, to);
    if (result == 0) moved(from_base, from, to_base, to, flotilla_trace_rename);
    pthread_mutex_unlock(&lock);
    return result;
}

int link(const char *from, const char *to) {
    READY();
    pthread_mutex_lock(&lock);
    int result = real_link(from, to);
    if (result == 0) moved(AT_FDCWD, from, AT_FDCWD, to, flotilla_trace_link);
    pthread_mutex_unlock(&lock);
    return result;
}

static void changed(int base, const char *path, enum flotilla_trace_kind kind) {
    char name[PATH_MAX];
    if (relative(base, path, name)) record_names(kind, name, NULL);
}

int unlink(const char *path) {
    READY();
    pthread_mutex_lock(&lock);
    int result = real_unlink(path);
    if (result == 0) changed(AT_FDCWD, path, flotilla_trace_unlink);
    pthread_mutex_unlock(&lock);
    return result;
}

int unlinkat(int base, const char *path, int flags) {
    READY();
    pthread_mutex_lock(&lock);
    int result = real_unlinkat(base, path, flags);
    if (result == 0) changed(base, path, flags & AT_REMOVEDIR ? flotilla_trace_rmdir : flotilla_trace_unlink);
    pthread_mutex_unlock(&lock);
    return result;
}

int mkdir(const char *path, mode_t mode) {
    READY();
    pthread_mutex_lock(&lock);
    int result = real_mkdir(path, mode);
    if (result == 0) changed(AT_FDCWD, path, flotilla_trace_mkdir);
    pthread_mutex_unlock(&lock);
    return result;
}

int rmdir(const char *path) {
    READY();
    pthread_mutex_lock(&lock);
    int result = real_rmdir(path);
    if (result == 0) changed(AT_FDCWD, path, flotilla_trace_rmdir);
    pthread_mutex_unlock(&lock);
    return result;
}

void *mmap(void *address, size_t length, int protection, int flags, int descriptor, off_t offset) {
    READY();
    /* Not under the lock: memory is mapped while the lock is made. */
    void *result = real_mmap(address, length, protection, flags, descriptor, offset);
    if (result != MAP_FAILED && (protection & PROT_WRITE) && (flags & MAP_TYPE) == MAP_SHARED && is_watched(descriptor)) {
        pthread_mutex_lock(&lock);
        record(flotilla_trace_map, descriptor, 0, NULL, (uint64_t)offset, length, NULL, 0, 0);
        pthread_mutex_unlock(&lock);
    }
    return result;
}

/* The names that programs built for large files use. */
int open64(const char *, int, ...) __attribute__((alias("open")));
int openat64(int, const char *, int, ...) __attribute__((alias("openat")));
int creat64(const char *, mode_t) __attribute__((alias("creat")));
ssize_t pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));
ssize_t pwritev64(int, const struct iovec *, int, off_t) __attribute__((alias("pwritev")));
int ftruncate64(int, off_t) __attribute__((alias("ftruncate")));
int truncate64(const char *, off_t) __attribute__((alias("truncate")));
int fallocate64(int, int, off_t, off_t) __attribute__((alias("fallocate")));
int posix_fallocate64(int, off_t, off_t) __attribute__((alias("posix_fallocate")));
void *mmap64(void *, size_t, int, int, int, off_t) __attribute__((alias("mmap")));
