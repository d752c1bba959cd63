/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_BASE_CRC32C_H
#define SF_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli) of @data behind what gave @crc; 0 = nothing before. Finds damage, not
 * malice. */
uint32_t sf_crc32c(uint32_t crc, const void *data, size_t n);

/* The same without the processor's instruction, which the other one uses where it can. */
uint32_t sf_crc32c_portable(uint32_t crc, const void *data, size_t n);

#endif
