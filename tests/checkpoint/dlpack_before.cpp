// tests/checkpoint/dlpack_before.cpp: DLPack's own header before ours; dlpack.cpp has it behind.
//
// SPDX-License-Identifier: MIT
#include "../support/foreign_dlpack.h"

#include <ckpt/dlpack.hpp>

#include "../tensor/fake_storage.hpp"

#include <doctest/doctest.h>

namespace dlpack_before_test {

TEST_CASE("DLPack's own header may come before ours") {
    const auto owner = ckpt::detail::make_shared<fake::storage>(std::vector<std::byte>(8));
    const fake::tensor pair{*owner, ckpt::dtype::float32, {2}, {1}};
    const auto ours = ckpt::detail::host_dlpack<ckpt::dlpack_managed_tensor>(pair.get(), {owner.get(), owner});
    const auto theirs = ckpt::detail::host_dlpack<DLManagedTensorVersioned>(pair.get(), {owner.get(), owner});
    REQUIRE(ours);
    REQUIRE(theirs);
    CHECK((*ours)->dl_tensor.data == (*theirs)->dl_tensor.data);
    (*ours)->deleter(*ours);
    (*theirs)->deleter(*theirs);
}

} // namespace dlpack_before_test
