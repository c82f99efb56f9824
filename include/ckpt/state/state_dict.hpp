// ckpt/state/state_dict.hpp: tensors by key, in the file's order.
//
// SPDX-License-Identifier: MIT
// In:      a dictionary of a checkpoint, nested ones too.
// Out:     an ordered map from key to tensor. Keys are the paths below the dictionary, joined by dots.
// Refuses: two entries with the same key, more entries than limits.entries.
//
// A state_dict shares ownership of the file, so it may outlive the checkpoint that it came from. Tensors, views and
// text that it returns borrow from it; functions that return them are deleted for temporaries.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/fixed_string.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/core/workers.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/half.hpp>
#include <ckpt/tensor/tensor.hpp>
#include <ckpt/tensor/view.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {
struct state_dict_data; // state/state_dict_data.hpp
struct state_dict_access;
} // namespace detail

/// Tensors by key, in the file's order. A cheap handle to an immutable object; copies share it.
class state_dict {
  public:
    /// One tensor and its key. Both borrow from the state_dict.
    struct entry {
        std::string_view key{};
        ckpt::tensor tensor{};
    };
    class iterator {
      public:
        using value_type = entry;
        using difference_type = std::ptrdiff_t;
        iterator() noexcept = default;
        [[nodiscard]] entry operator*() const noexcept;
        iterator& operator++() noexcept {
            ++at_;
            return *this;
        }
        iterator operator++(int) noexcept { return {data_, at_++}; }
        [[nodiscard]] bool operator==(const iterator& other) const noexcept { return at_ == other.at_; }

      private:
        friend class state_dict;
        iterator(const detail::state_dict_data* data, std::size_t at) noexcept : data_{data}, at_{at} {}

        const detail::state_dict_data* data_{nullptr};
        std::size_t at_{0};
    };

    [[nodiscard]] std::size_t size() const noexcept;
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }
    [[nodiscard]] iterator begin() const& noexcept CKPT_DETAIL_BORROWED;
    [[nodiscard]] iterator end() const& noexcept CKPT_DETAIL_BORROWED;
    iterator begin() const&& = delete; // the tensors would outlive the file: name the state_dict first
    iterator end() const&& = delete;   // the tensors would outlive the file: name the state_dict first

    [[nodiscard]] bool contains(std::string_view key) const noexcept;

    /// The tensor stored under `key`; it borrows from the state_dict.
    /// Fails with `key_missing`, naming the nearest keys, and with the entry's own error where its tensor was refused.
    [[nodiscard]] result<ckpt::tensor> at(std::string_view key) const& CKPT_DETAIL_BORROWED;
    result<ckpt::tensor> at(std::string_view) const&& = delete; // it would outlive the file: name the state_dict first

    /// A typed view of the tensor stored under `key`: `at(key)`, then `tensor::view<T, Rank>()`. Fails as these do.
    template <class T, std::size_t Rank>
    [[nodiscard]] result<tensor_view<T, Rank>> view(std::string_view key) const& CKPT_DETAIL_BORROWED {
        auto found = at(key);
        if (!found) return std::move(found).failure();
        auto out = found->view<T, Rank>();
        if (!out) place(out.error(), key);
        return out;
    }
    template <class T, std::size_t Rank>
    result<tensor_view<T, Rank>>
        view(std::string_view) const&& = delete; // it would outlive the file: name the state_dict first

    /// All elements of the tensor stored under `key`, of any rank, in row-major order and without a copy: `at(key)`,
    /// then `tensor::view<T>()`. Fails as these do.
    template <class T> [[nodiscard]] result<std::span<const T>> view(std::string_view key) const& CKPT_DETAIL_BORROWED {
        auto found = at(key);
        if (!found) return std::move(found).failure();
        auto out = found->template view<T>();
        if (!out) place(out.error(), key);
        return out;
    }
    template <class T>
    result<std::span<const T>>
        view(std::string_view) const&& = delete; // it would outlive the file: name the state_dict first

    /// A copy of a single number: `get<float>("scale")`. The entry is a tensor with one element, which is converted as
    /// `tensor::copy_as` does, or a number that is no tensor, as `value::get` reads it. Fails as these do, and with
    /// `key_missing`.
    template <class T> [[nodiscard]] result<T> get(std::string_view key) const {
        CKPT_DETAIL_REQUIRE("ckpt: get reads bool, integers, float, double and the other element types of tensors",
                            element<T>);
        T out{};
        auto done = read_scalar(key, dtype_of<T>::value, reinterpret_cast<std::byte*>(&out));
        return done ? result<T>{out} : result<T>{std::move(done).error()};
    }
    /// The same, or `fallback` where there is no such key.
    template <class T> [[nodiscard]] result<T> get_or(std::string_view key, T fallback) const {
        auto out = get<T>(key);
        if (!out && out.error().code == errc::key_missing) return fallback;
        return out;
    }

    /// An entry below the dictionary that is not a tensor: a number, text, an object. Borrows from the state_dict.
    struct other {
        std::string_view key{};
        value content{};
    };
    /// All entries that are not tensors.
    [[nodiscard]] std::vector<other> others() const& CKPT_DETAIL_BORROWED;
    std::vector<other> others() const&& = delete; // they would outlive the file: name the state_dict first

    /// The number of tensors that could not be built. They keep their keys; every access returns their error.
    [[nodiscard]] std::size_t refused() const noexcept;
    /// The path of the dictionary in the file, as `value::find` takes it; empty for the root.
    [[nodiscard]] const std::string& path() const& noexcept CKPT_DETAIL_BORROWED;
    const std::string& path() const&& = delete; // the text goes with it: name the state_dict first
    /// The dictionary itself, as a value: its class, its metadata.
    [[nodiscard]] value root() const& noexcept CKPT_DETAIL_BORROWED;
    value root() const&& = delete; // the value would outlive the file: name the state_dict first

    /// The same state_dict with its storages copied to memory of its own; see `storage_mode::owned`. Where a storage
    /// cannot be read, accesses to its tensors fail with the error. With `ckpt::threads()` (threads.hpp) several
    /// threads read.
    [[nodiscard]] state_dict owned(const workers& lent = {}) const;

  private:
    friend struct detail::state_dict_access;
    explicit state_dict(detail::shared<detail::state_dict_data> data) noexcept : data_{std::move(data)} {}

    /// Says in an error which entry of which file it concerns.
    void place(ckpt::error& failure, std::string_view key) const;
    [[nodiscard]] ckpt::error missing(std::string_view key) const;
    [[nodiscard]] result<void> read_scalar(std::string_view key, ckpt::dtype to, std::byte* out) const;

    detail::shared<detail::state_dict_data> data_;
};

namespace detail {

/// For the library: access to the data of a state_dict.
struct state_dict_access {
    [[nodiscard]] static const shared<state_dict_data>& data(const state_dict& weights) noexcept {
        return weights.data_;
    }
    [[nodiscard]] static state_dict make(shared<state_dict_data> data) noexcept { return state_dict{std::move(data)}; }
};

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/state_dict.ipp>
#endif
