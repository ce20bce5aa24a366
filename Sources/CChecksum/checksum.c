#include "checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

// Reflected Castagnoli polynomial.
#define POLYNOMIAL 0x82f63b78u

static uint32_t table_step(uint32_t crc, uint8_t byte) {
    // The table is small enough to be computed once, on first use; racing
    // initialisers write the same values.
    static uint32_t table[256];
    static int ready;
    if (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE)) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++)
                value = (value >> 1) ^ (value & 1 ? POLYNOMIAL : 0);
            __atomic_store_n(&table[i], value, __ATOMIC_RELAXED);
        }
        __atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
    }
    return (crc >> 8) ^ table[(crc ^ byte) & 0xff];
}

static uint32_t crc_portable(uint32_t crc, const uint8_t *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) crc = table_step(crc, bytes[i]);
    return crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2")))
static uint32_t crc_sse42(uint32_t crc, const uint8_t *bytes, size_t length) {
    uint64_t wide = crc;
    while (length >= 8) {
        uint64_t word;
        __builtin_memcpy(&word, bytes, 8);
        wide = _mm_crc32_u64(wide, word);
        bytes += 8;
        length -= 8;
    }
    crc = (uint32_t)wide;
    while (length--) crc = _mm_crc32_u8(crc, *bytes++);
    return crc;
}

// The instruction has a latency of three cycles and starts every cycle, so three
// lanes run at once. A lane's sum is moved past the bytes of the lanes behind it by
// a table: that many zero bytes are a linear map of the 32 bits.
enum { SHORT_LANE = 64, LONG_LANE = 2048 };
typedef struct { uint32_t of[4][256]; } zeros_table;
static zeros_table short_zeros, long_zeros;
static int has_sse42;

static void fill_zeros(zeros_table *table, size_t lane) {
    static const uint8_t zeros[LONG_LANE];
    uint32_t basis[32];
    for (int bit = 0; bit < 32; bit++)
        basis[bit] = crc_sse42((uint32_t)1 << bit, zeros, lane);
    for (int byte = 0; byte < 4; byte++)
        for (int value = 0; value < 256; value++) {
            uint32_t sum = 0;
            for (int bit = 0; bit < 8; bit++)
                if (value >> bit & 1) sum ^= basis[byte * 8 + bit];
            table->of[byte][value] = sum;
        }
}

__attribute__((constructor))
static void prepare(void) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("sse4.2")) return;
    fill_zeros(&short_zeros, SHORT_LANE);
    fill_zeros(&long_zeros, LONG_LANE);
    has_sse42 = 1;
}

static inline uint32_t past_zeros(const zeros_table *table, uint32_t crc) {
    return table->of[0][crc & 0xff] ^ table->of[1][crc >> 8 & 0xff]
        ^ table->of[2][crc >> 16 & 0xff] ^ table->of[3][crc >> 24];
}

__attribute__((target("sse4.2")))
static inline uint32_t three_lanes(
    uint32_t crc, const uint8_t *bytes, size_t lane, const zeros_table *table) {
    uint64_t first = crc, second = 0, third = 0;
    for (size_t at = 0; at < lane; at += 8) {
        uint64_t word[3];
        __builtin_memcpy(&word[0], bytes + at, 8);
        __builtin_memcpy(&word[1], bytes + lane + at, 8);
        __builtin_memcpy(&word[2], bytes + 2 * lane + at, 8);
        first = _mm_crc32_u64(first, word[0]);
        second = _mm_crc32_u64(second, word[1]);
        third = _mm_crc32_u64(third, word[2]);
    }
    crc = past_zeros(table, (uint32_t)first) ^ (uint32_t)second;
    return past_zeros(table, crc) ^ (uint32_t)third;
}

__attribute__((target("sse4.2")))
static uint32_t crc_lanes(uint32_t crc, const uint8_t *bytes, size_t length) {
    for (; length >= 3 * LONG_LANE; bytes += 3 * LONG_LANE, length -= 3 * LONG_LANE)
        crc = three_lanes(crc, bytes, LONG_LANE, &long_zeros);
    for (; length >= 3 * SHORT_LANE; bytes += 3 * SHORT_LANE, length -= 3 * SHORT_LANE)
        crc = three_lanes(crc, bytes, SHORT_LANE, &short_zeros);
    return crc_sse42(crc, bytes, length);
}
#endif

uint32_t flotilla_crc32c(uint32_t seed, const void *bytes, size_t length) {
    uint32_t crc = ~seed;
#if defined(__x86_64__)
    if (has_sse42) return ~crc_lanes(crc, bytes, length);
#endif
    return ~crc_portable(crc, bytes, length);
}

flotilla_hash128_t flotilla_hash128(const void *bytes, size_t length, uint64_t seed) {
    XXH128_hash_t hash = XXH3_128bits_withSeed(bytes, length, seed);
    return (flotilla_hash128_t){ .low = hash.low64, .high = hash.high64 };
}
