// tests/checkpoint/dlpack.cpp: tensors as DLPack has them, and what they keep alive.
//
// SPDX-License-Identifier: MIT
#include <ckpt/dlpack.hpp>

#include "../support/foreign_dlpack.h"
#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"
#include "../tensor/fake_storage.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace dlpack_test {

using ckpt::dtype;
using ckpt::errc;
namespace detail = ckpt::detail;
using namespace test_support;

namespace {

/// The consumer of one export.
template <class Managed> class consumer {
  public:
    explicit consumer(ckpt::result<Managed*> exported) : managed_{exported ? *exported : nullptr} {
        REQUIRE(managed_ != nullptr);
    }
    consumer(const consumer&) = delete;
    consumer& operator=(const consumer&) = delete;
    ~consumer() { managed_->deleter(managed_); }
    [[nodiscard]] const Managed* operator->() const { return managed_; }

  private:
    Managed* managed_;
};
using ours = consumer<ckpt::dlpack_managed_tensor>;

/// A storage that says when it is gone.
struct owner final : detail::counted {
    explicit owner(bool& gone) : gone_{gone} {}
    ~owner() override { gone_ = true; }
    bool& gone_;
};

ckpt::result<ckpt::dlpack_managed_tensor*> exported(const fake::storage& from, const ckpt::tensor& t) {
    return detail::host_dlpack<ckpt::dlpack_managed_tensor>(t, {&from, {}});
}
errc refused(const fake::storage& from, const ckpt::tensor& t) {
    const auto out = exported(from, t);
    REQUIRE_FALSE(out);
    return out.error().code;
}

template <class A, class B> constexpr bool same_layout() {
    using tensor_a = decltype(A::dl_tensor);
    using tensor_b = decltype(B::dl_tensor);
    return sizeof(A) == sizeof(B) && alignof(A) == alignof(B) && offsetof(A, version) == offsetof(B, version) &&
           offsetof(A, manager_ctx) == offsetof(B, manager_ctx) && offsetof(A, deleter) == offsetof(B, deleter) &&
           offsetof(A, flags) == offsetof(B, flags) && offsetof(A, dl_tensor) == offsetof(B, dl_tensor) &&
           sizeof(tensor_a) == sizeof(tensor_b) && offsetof(tensor_a, data) == offsetof(tensor_b, data) &&
           offsetof(tensor_a, device) == offsetof(tensor_b, device) &&
           offsetof(tensor_a, ndim) == offsetof(tensor_b, ndim) &&
           offsetof(tensor_a, dtype) == offsetof(tensor_b, dtype) &&
           offsetof(tensor_a, shape) == offsetof(tensor_b, shape) &&
           offsetof(tensor_a, strides) == offsetof(tensor_b, strides) &&
           offsetof(tensor_a, byte_offset) == offsetof(tensor_b, byte_offset);
}
static_assert(same_layout<ckpt::dlpack_managed_tensor, DLManagedTensorVersioned>());
static_assert(sizeof(ckpt::dlpack_type) == 4 && offsetof(ckpt::dlpack_type, lanes) == 2);

std::string file_of_two() {
    std::vector<float> values(12);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    return torch_file(pkl::dict({{pkl::str("w"), pkl::floats("0", 12)}, {pkl::str("b"), pkl::floats("0", 12)}}),
                      {{"0", raw(values)}});
}

} // namespace

TEST_CASE("an export describes the tensor and points at its elements") {
    const fake::storage from{std::vector<std::byte>(24 * 4)};
    const fake::tensor t{from, dtype::float32, {2, 3}, {1, 4}, 5};
    const ours out{exported(from, t.get())};
    CHECK(out->version.major == 1);
    CHECK(out->version.minor == 1);
    CHECK(out->flags == 1); // read-only
    CHECK(out->dl_tensor.data == from.all().data() + 20);
    CHECK(out->dl_tensor.byte_offset == 0);
    CHECK(out->dl_tensor.device.device_type == 1);
    CHECK(out->dl_tensor.device.device_id == 0);
    REQUIRE(out->dl_tensor.ndim == 2);
    CHECK(out->dl_tensor.shape[0] == 2);
    CHECK(out->dl_tensor.shape[1] == 3);
    CHECK(out->dl_tensor.strides[0] == 1);
    CHECK(out->dl_tensor.strides[1] == 4);
    CHECK(out->dl_tensor.dtype.code == 2);
    CHECK(out->dl_tensor.dtype.bits == 32);
    CHECK(out->dl_tensor.dtype.lanes == 1);

    const consumer<DLManagedTensorVersioned> theirs{
        detail::host_dlpack<DLManagedTensorVersioned>(t.get(), {&from, {}})};
    CHECK(theirs->dl_tensor.device.device_type == kDLCPU);
    CHECK(theirs->dl_tensor.data == out->dl_tensor.data);
    CHECK(theirs->dl_tensor.strides[1] == 4);
}

TEST_CASE("a scalar has no dimensions, an empty tensor no data") {
    const fake::storage from{std::vector<std::byte>(16)};
    const fake::tensor scalar{from, dtype::int64, {}, {}, 1};
    const ours one{exported(from, scalar.get())};
    CHECK(one->dl_tensor.ndim == 0);
    CHECK(one->dl_tensor.data == from.all().data() + 8);
    const fake::tensor empty{from, dtype::int64, {3, 0}, {1, 1}};
    const ours none{exported(from, empty.get())};
    CHECK(none->dl_tensor.data == nullptr);
    CHECK(none->dl_tensor.shape[0] == 3);
}

TEST_CASE("types by DLPack's codes; those that it has none for are refused") {
    const fake::storage from{std::vector<std::byte>(64)};
    for (const auto& row : ckpt::dtype_table) {
        CAPTURE(std::string(row.name));
        const fake::tensor t{from, row.type, {4}, {1}};
        const auto code = [&]() -> int {
            switch (row.kind) {
            case ckpt::dtype_kind::boolean: return 6;
            case ckpt::dtype_kind::integer: return row.name[0] == 'u' ? 1 : 0;
            case ckpt::dtype_kind::complex: return row.type == dtype::bcomplex32 ? -1 : 5;
            case ckpt::dtype_kind::floating: break;
            default: return -1;
            }
            constexpr std::pair<dtype, int> floats[]{{dtype::bfloat16, 4},         {dtype::float8_e4m3fn, 10},
                                                     {dtype::float8_e4m3fnuz, 11}, {dtype::float8_e5m2, 12},
                                                     {dtype::float8_e5m2fnuz, 13}, {dtype::float8_e8m0fnu, 14},
                                                     {dtype::float4_e2m1fn_x2, 17}};
            for (const auto& f : floats)
                if (f.first == row.type) return f.second;
            return 2;
        }();
        if (code < 0) {
            const errc why = refused(from, t.get());
            CHECK(why == (row.packed ? errc::packed : errc::dtype_mismatch));
            continue;
        }
        const ours out{exported(from, t.get())};
        CHECK(out->dl_tensor.dtype.code == code);
        CHECK(out->dl_tensor.dtype.bits * out->dl_tensor.dtype.lanes == row.bits);
        CHECK(out->dl_tensor.dtype.lanes == (row.type == dtype::float4_e2m1fn_x2 ? 2 : 1));
    }
}

TEST_CASE("bytes that are not the values, or not there, are refused") {
    fake::storage from{std::vector<std::byte>(32)};
    fake::tensor t{from, dtype::float32, {4}, {1}};
    t.data.neg = true;
    CHECK(refused(from, t.get()) == errc::lazy_bit);
    t.data.neg = false;
    t.data.conj = true; // of no consequence for real numbers
    (void)ours{exported(from, t.get())};
    t.data.type = dtype::complex32;
    CHECK(refused(from, t.get()) == errc::lazy_bit);
    t.data.conj = false;
    t.data.type = dtype::float32;

    from.endian = detail::native_order() == ckpt::byte_order::little ? ckpt::byte_order::big : ckpt::byte_order::little;
    CHECK(refused(from, t.get()) == errc::byte_order);
    t.data.type = dtype::uint8; // a byte has no order
    (void)ours{exported(from, t.get())};
    t.data.type = dtype::float32;
    from.endian = detail::native_order();

    from.mapped = false;
    CHECK(refused(from, t.get()) == errc::not_mapped);
    from.mapped = true;

    t.data.kind = ckpt::layout::sparse_coo;
    CHECK(refused(from, t.get()) == errc::not_strided);
    t.data.kind = ckpt::layout::meta;
    CHECK(refused(from, t.get()) == errc::no_data);
    t.data.kind = ckpt::layout::strided;

    const ckpt::error why{.code = errc::out_of_bounds};
    t.data.refusal = &why;
    CHECK(refused(from, t.get()) == errc::out_of_bounds);
    CHECK(refused(from, ckpt::tensor{}) == errc::no_data);

    const fake::storage odd{std::vector<std::byte>(32), 2};
    const fake::tensor misaligned{odd, dtype::float32, {4}, {1}};
    CHECK(refused(odd, misaligned.get()) == errc::misaligned);
    const fake::tensor aligned{odd, dtype::float16, {4}, {1}};
    (void)ours{exported(odd, aligned.get())};
}

TEST_CASE("the owner lives until the last export is deleted") {
    bool gone = false;
    const std::int64_t shape[]{2}, strides[]{1};
    float values[2]{};
    auto keep = detail::make_shared<owner>(gone);
    detail::dlpack_content content{values, dtype::float32, shape, strides, {detail::dlpack_cuda, 3}, false, keep};
    auto first = detail::make_dlpack<ckpt::dlpack_managed_tensor>(content);
    auto second = detail::make_dlpack<DLManagedTensorVersioned>(content);
    keep = {};
    content.owner = {};
    REQUIRE(first);
    REQUIRE(second);
    CHECK((*second)->dl_tensor.device.device_type == kDLCUDA);
    CHECK((*second)->dl_tensor.device.device_id == 3);
    CHECK((*second)->flags == 0);
    (*first)->deleter(*first);
    CHECK_FALSE(gone);
    (*second)->deleter(*second);
    CHECK(gone);
}

TEST_CASE("a tensor of a file outlives the handles that it was found with") {
    const temporary_file file(file_of_two());
    for (const bool by_weights : {false, true}) {
        const ours kept{[&] {
            const auto opened = ckpt::open(file.path());
            REQUIRE(opened);
            const auto weights = opened->state_dict();
            REQUIRE(weights);
            if (by_weights) return ckpt::to_dlpack(*weights->at("w"), *weights);
            const auto found = opened->root().at("w");
            REQUIRE(found);
            return ckpt::to_dlpack(*found->as_tensor(), *opened);
        }()};
        float value = 0;
        std::memcpy(&value, static_cast<const std::byte*>(kept->dl_tensor.data) + 11 * sizeof value, sizeof value);
        CHECK(value == 11.0f);
    }
}

TEST_CASE("an owner that does not keep the tensor is refused") {
    const temporary_file file(file_of_two());
    const auto one = ckpt::open(file.path());
    const auto other = ckpt::open(file.path());
    REQUIRE(one);
    REQUIRE(other);
    const auto weights = one->state_dict();
    REQUIRE(weights);
    CHECK(ckpt::to_dlpack(*weights->at("w"), *other).error().code == errc::key_missing);
    const auto copies = weights->owned();
    CHECK(ckpt::to_dlpack(*weights->at("w"), copies).error().code == errc::key_missing);
    const ours own{ckpt::to_dlpack(*copies.at("w"), copies)};
    const ours same_file{ckpt::to_dlpack(*weights->at("w"), *one)};
    CHECK(own->dl_tensor.data != same_file->dl_tensor.data);
    const auto read = ckpt::open(file.path(), {.io = ckpt::io_mode::read});
    REQUIRE(read);
    const auto unmapped = read->state_dict();
    REQUIRE(unmapped);
    CHECK(ckpt::to_dlpack(*unmapped->at("w"), *unmapped).error().code == errc::not_mapped);
}

} // namespace dlpack_test
