/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the bytes of a fuzzed frame mean, for the fuzzer, the seeds and the test
 * that runs the corpus through the loaded programs: two bytes say how much of the
 * frame is linear (little end first, clamped to its length), one holds flags, the
 * rest is the frame.
 */
#ifndef GATE25_FUZZ_INPUT_H
#define GATE25_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

#define INPUT_HEADER 3
#define INPUT_REPLY  0x01 /* the frame goes to the VM */
#define INPUT_ESP    0x02 /* esp_unreadable */
#define INPUT_PORTS  0x04 /* three gated ports, else one */
#define INPUT_GSO    0x08 /* will be segmented */
#define INPUT_CSUM   0xf0 /* a quarter of where a checksum is yet to be written, 0 = nowhere */

struct input {
	const uint8_t *frame;
	uint32_t len, linear; /* linear <= len */
	uint32_t csum;
	uint8_t flags;
};

/* False: too short to be one. */
static inline int input_decode(struct input *in, const uint8_t *bytes, size_t size)
{
	if (size < INPUT_HEADER)
		return 0;
	in->frame = bytes + INPUT_HEADER;
	in->len = (uint32_t)(size - INPUT_HEADER);
	in->linear = bytes[0] | (uint32_t)bytes[1] << 8;
	if (in->linear > in->len)
		in->linear = in->len;
	in->flags = bytes[2];
	in->csum = (in->flags >> 4) * 4U;
	return 1;
}

#endif
