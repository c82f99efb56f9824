/* tests/support/foreign_dlpack.h: the declarations of DLPack's own header that a program would include, as far as tests
 * need them.
 *
 * SPDX-License-Identifier: MIT
 * The names and the order of the members are the interface (DLPack 1.1). tests/torch/dlpack.py uses the real header. */
#pragma once

#include <stdint.h>

#define DLPACK_MAJOR_VERSION 1
#define DLPACK_MINOR_VERSION 1

extern "C" {

typedef struct {
    uint32_t major;
    uint32_t minor;
} DLPackVersion;

typedef enum : int32_t { kDLCPU = 1, kDLCUDA = 2 } DLDeviceType;

typedef struct {
    DLDeviceType device_type;
    int32_t device_id;
} DLDevice;

typedef struct {
    uint8_t code;
    uint8_t bits;
    uint16_t lanes;
} DLDataType;

typedef struct {
    void* data;
    DLDevice device;
    int32_t ndim;
    DLDataType dtype;
    int64_t* shape;
    int64_t* strides;
    uint64_t byte_offset;
} DLTensor;

struct DLManagedTensorVersioned {
    DLPackVersion version;
    void* manager_ctx;
    void (*deleter)(struct DLManagedTensorVersioned* self);
    uint64_t flags;
    DLTensor dl_tensor;
};
}
