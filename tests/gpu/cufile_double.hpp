// tests/gpu/cufile_double.hpp: how tests steer the double of GPUDirect Storage.
//
// SPDX-License-Identifier: MIT
// In:      a test that has opened libcufile.so.0 and looks these functions up by name.
// Out:     calls that fail as asked; what is still open.
//
// The library itself has the public functions; it writes into the shadow memory of the program's cuda_double, and
// reports misuse there as `kind::storage`.
#pragma once

extern "C" {

enum cufile_failure {
    cufile_no_failure,
    cufile_no_driver,        ///< cuFileDriverOpen fails
    cufile_no_file_system,   ///< cuFileHandleRegister fails
    cufile_no_buffer,        ///< cuFileBufRegister fails
    cufile_no_properties,    ///< cuFileDriverGetProperties fails
    cufile_no_direct_way,    ///< it says that every read passes the host
    cufile_short_read,       ///< one cuFileRead gives half of what was asked for
    cufile_failing_read,     ///< one cuFileRead fails with an error of cuFile
    cufile_failing_file_read ///< one cuFileRead fails with errno
};

/// Makes what it names fail; a read after that many good ones. Forgets everything else.
void cufile_double_reset(enum cufile_failure failure, unsigned long good_reads);
unsigned long cufile_double_reads();
unsigned long cufile_double_bytes();
/// Makes the first reads wait, up to a second, until so many are in flight.
void cufile_double_together(unsigned long reads);
unsigned long cufile_double_most_in_flight();
/// How many buffers were registered so far.
unsigned long cufile_double_registered();
/// Reports what is still open or registered.
void cufile_double_end();
}
