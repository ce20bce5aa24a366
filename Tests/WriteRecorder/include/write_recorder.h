#ifndef FLOTILLA_WRITE_RECORDER_H
#define FLOTILLA_WRITE_RECORDER_H

#include <stdint.h>

/* One call, as it stands in the trace: this head, then `name_length` bytes of path relative to the recorded
 * directory, then `data_length` bytes. Little-endian, no padding. */

enum flotilla_trace_kind {
    flotilla_trace_open = 1,       /* name; value = open flags */
    flotilla_trace_close = 2,
    flotilla_trace_write = 3,      /* data at offset */
    flotilla_trace_truncate = 4,   /* offset = the new size */
    flotilla_trace_allocate = 5,   /* offset and value = the range; flags = mode of fallocate */
    flotilla_trace_sync = 6,       /* fsync or fdatasync */
    flotilla_trace_rename = 7,     /* name; data = the new name */
    flotilla_trace_link = 8,       /* name; data = the second name */
    flotilla_trace_unlink = 9,     /* name */
    flotilla_trace_mkdir = 10,     /* name */
    flotilla_trace_rmdir = 11,     /* name */
    flotilla_trace_map = 12,       /* a shared writable map: what is stored through it is not in the trace */
    flotilla_trace_say = 13,       /* data that went to standard output */
};

struct flotilla_trace_head {
    uint32_t kind;
    int32_t descriptor;
    uint32_t flags;
    uint32_t name_length;
    uint64_t offset;
    uint64_t value;
    uint64_t data_length;
};

#endif
