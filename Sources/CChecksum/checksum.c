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
#include <wmmintrin.h>

// The instruction has a latency of three cycles and starts every cycle, so three
// lanes run at once. A lane's sum is moved past the bytes of the lanes behind it: that
// many zero bytes multiply it by a power of x. (A table of the products would have to
// be in the cache, where somebody who reads cold values doesn't find it.)

// To go past n bytes: x^(8n-33) modulo the polynomial, since the product in `moved`
// comes out one bit up and its reduction multiplies by x^32.
#define PAST_16 0x493c7d27u
#define PAST_32 0xba4fc28eu
#define PAST_64 0x9e4addf8u
#define PAST_128 0x0d3b6092u
#define PAST_256 0xb9e02b86u
#define PAST_512 0xdd7e3b0cu
#define PAST_2048 0xa51b6135u
#define PAST_4096 0x82f89c77u
static int has_lanes;

__attribute__((constructor))
static void prepare(void) {
    __builtin_cpu_init();
    has_lanes = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

__attribute__((target("sse4.2,pclmul")))
static inline uint32_t moved(uint64_t crc, uint64_t power) {
    __m128i product = _mm_clmulepi64_si128(
        _mm_cvtsi64_si128((int64_t)crc), _mm_cvtsi64_si128((int64_t)power), 0);
    return (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

__attribute__((target("sse4.2,pclmul"), always_inline))
static inline uint32_t three_lanes(
    uint32_t crc, const uint8_t *bytes, size_t lane, uint64_t past_one, uint64_t past_two) {
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
    return moved(first, past_two) ^ moved(second, past_one) ^ (uint32_t)third;
}

__attribute__((target("sse4.2,pclmul")))
static uint32_t crc_lanes(uint32_t crc, const uint8_t *bytes, size_t length) {
    for (; length >= 3 * 2048; bytes += 3 * 2048, length -= 3 * 2048)
        crc = three_lanes(crc, bytes, 2048, PAST_2048, PAST_4096);
    for (; length >= 3 * 256; bytes += 3 * 256, length -= 3 * 256)
        crc = three_lanes(crc, bytes, 256, PAST_256, PAST_512);
    for (; length >= 3 * 64; bytes += 3 * 64, length -= 3 * 64)
        crc = three_lanes(crc, bytes, 64, PAST_64, PAST_128);
    for (; length >= 3 * 16; bytes += 3 * 16, length -= 3 * 16)
        crc = three_lanes(crc, bytes, 16, PAST_16, PAST_32);
    uint64_t wide = crc;
    for (; length >= 8; bytes += 8, length -= 8) {
        uint64_t word;
        __builtin_memcpy(&word, bytes, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    while (length--) crc = _mm_crc32_u8(crc, *bytes++);
    return crc;
}
#endif

uint32_t flotilla_crc32c(uint32_t seed, const void *bytes, size_t length) {
    uint32_t crc = ~seed;
#if defined(__x86_64__)
    if (has_lanes) return ~crc_lanes(crc, bytes, length);
#endif
    return ~crc_portable(crc, bytes, length);
}

flotilla_hash128_t flotilla_hash128(const void *bytes, size_t length, uint64_t seed) {
    XXH128_hash_t hash = XXH3_128bits_withSeed(bytes, length, seed);
    return (flotilla_hash128_t){ .low = hash.low64, .high = hash.high64 };
}
