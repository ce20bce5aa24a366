#ifndef FLOTILLA_LMDB_SHIM_H
#define FLOTILLA_LMDB_SHIM_H

#include <lmdb.h>
#include <stdint.h>
#include <string.h>

/// LMDB's own order: bytes as unsigned numbers, a shorter key before those that it begins. Eight bytes at a time, because
/// a search among 100,000 keys compares 16 and each of LMDB's calls of memcmp costs more than that.
static inline int flotilla_lmdb_compare(const MDB_val *left, const MDB_val *right) {
    const unsigned char *one = (const unsigned char *)left->mv_data;
    const unsigned char *other = (const unsigned char *)right->mv_data;
    size_t shared = left->mv_size < right->mv_size ? left->mv_size : right->mv_size;
    size_t at = 0;
    for (; shared - at >= 8; at += 8) {
        uint64_t first, second;
        memcpy(&first, one + at, 8);
        memcpy(&second, other + at, 8);
        if (first == second) continue;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        first = __builtin_bswap64(first);
        second = __builtin_bswap64(second);
#endif
        return first < second ? -1 : 1;
    }
    int difference = at < shared ? memcmp(one + at, other + at, shared - at) : 0;
    if (difference != 0) return difference;
    return (left->mv_size > right->mv_size) - (left->mv_size < right->mv_size);
}

/// Has LMDB compare the keys of a database by `flotilla_lmdb_compare` for as long as the environment is open. The file
/// remembers nothing of it and can be read by whoever compares as LMDB does.
static inline int flotilla_lmdb_use_compare(MDB_txn *transaction, MDB_dbi dbi) {
    return mdb_set_compare(transaction, dbi, flotilla_lmdb_compare);
}

#endif
