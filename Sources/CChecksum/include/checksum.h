#ifndef FLOTILLA_CHECKSUM_H
#define FLOTILLA_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/// CRC-32C (Castagnoli, RFC 3720) of `length` bytes, continuing from `seed`
/// (0 to begin). Uses SSE4.2 and PCLMULQDQ where the processor has both.
uint32_t flotilla_crc32c(uint32_t seed, const void *bytes, size_t length);

typedef struct {
    uint64_t low;
    uint64_t high;
} flotilla_hash128_t;

/// XXH3-128 of `length` bytes under `seed`.
flotilla_hash128_t flotilla_hash128(const void *bytes, size_t length, uint64_t seed);

#endif
