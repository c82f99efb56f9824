// ckpt/state/pull.hpp: gives out tensors by name, for programs that build their model step by step.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict; keys, types and sizes, one request at a time.
// Out:     views, copies, tensors, values in memory of the caller's; at the end a report of the requests, and of keys
//          that no request named.
// Refuses: a request that does not fit, by its error; the report has it, too.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/state/load.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {
class pull_record; // state/impl/pull.ipp
} // namespace detail

/// The shape that a tensor must have, as a function parameter: `{any, 784}`, or a span, vector or array of sizes that
/// are known at run time, which is the shape of a scalar where it is empty. Left out, or `{}`: any shape. Borrows, so
/// it is not to be stored.
class sizes_arg {
  public:
    constexpr sizes_arg() noexcept = default;
    constexpr sizes_arg(std::initializer_list<std::int64_t> sizes) noexcept
        : sizes_{sizes.begin(), sizes.size()}, given_{true} {}
    template <class Sizes>
        requires std::convertible_to<const Sizes&, std::span<const std::int64_t>>
    constexpr sizes_arg(const Sizes& sizes) noexcept : sizes_{sizes}, given_{true} {}

    [[nodiscard]] constexpr bool given() const noexcept { return given_; }
    [[nodiscard]] constexpr std::span<const std::int64_t> sizes() const noexcept { return sizes_; }

  private:
    std::span<const std::int64_t> sizes_{};
    bool given_{false};
};

/// Gives out tensors by name, and records the requests. Shares ownership of the state_dict. Views and tensors that it
/// returns borrow from it: they are valid as long as the state_dict or a puller of it. All scopes share one record. Not
/// thread-safe.
class puller {
  public:
    explicit puller(const state_dict& weights, load_options options = {});
    explicit puller(const state_dict&&, load_options = {}) = delete; // views may outlive it: name the state_dict first

    /// The same puller for keys below `name`: its `view("weight")` asks for "name.weight".
    [[nodiscard]] puller scope(std::string_view name) const;
    /// The prefix of the keys of this scope, without the last dot; empty for the whole state_dict.
    [[nodiscard]] std::string prefix() const { return prefix_; }

    /// Whether the state_dict has the key. Is not recorded as a request.
    [[nodiscard]] bool contains(std::string_view key) const;

    /// A view, as `state_dict::view`. `sizes`: the shape that the tensor must have; left out: any shape of `Rank`
    /// dimensions.
    template <class T, std::size_t Rank>
    [[nodiscard]] result<tensor_view<T, Rank>> view(std::string_view key, sizes_arg sizes = {}) const {
        auto found = ask(key, type_of<tensor_view<T, Rank>>(sizes), false);
        if (!found) return std::move(found).failure();
        return write<tensor_view<T, Rank>>(*found);
    }
    /// The same for a tensor that may be missing: nothing then, and no error.
    template <class T, std::size_t Rank>
    [[nodiscard]] result<std::optional<tensor_view<T, Rank>>> optional_view(std::string_view key,
                                                                            sizes_arg sizes = {}) const {
        auto found = ask(key, type_of<tensor_view<T, Rank>>(sizes), true);
        if (found) return std::optional{write<tensor_view<T, Rank>>(*found)};
        if (found.error().code == errc::key_missing) return std::optional<tensor_view<T, Rank>>{};
        return std::move(found).failure();
    }
    /// A copy; it converts other dtypes where `load_options::convert` is set. `load_options::progress` gets the stored
    /// bytes of this tensor, and must exist as long as the puller.
    template <class T, std::size_t Rank>
    [[nodiscard]] result<tensor_copy<T, Rank>> copy(std::string_view key, sizes_arg sizes = {}) const {
        auto found = ask(key, type_of<tensor_copy<T, Rank>>(sizes), false);
        if (found) found = fill(*std::move(found));
        if (!found) return std::move(found).failure();
        return write<tensor_copy<T, Rank>>(*found);
    }
    /// The tensor, whatever its type. `sizes`: the shape that it must have; left out: any shape.
    [[nodiscard]] result<tensor> get(std::string_view key, sizes_arg sizes = {}) const;
    /// The same for a tensor that may be missing: nothing then, and no error.
    [[nodiscard]] result<std::optional<tensor>> optional_get(std::string_view key, sizes_arg sizes = {}) const;
    /// Copies the values to memory of the caller's, row-major, as elements of type `type`, which must be the tensor's
    /// unless `load_options::convert` is set. `bytes` are exactly as many as the elements take: `size_mismatch`
    /// otherwise. Where the file cannot be read, a value does not fit its new type, or `load_options::progress` stops
    /// it, they may have been written in part.
    [[nodiscard]] result<void> copy_into(std::string_view key, ckpt::dtype type, std::span<std::byte> bytes,
                                         sizes_arg sizes = {}) const;

    /// The report of all requests, in all scopes; keys without a request are unexpected. Of several requests for one
    /// key the last one counts. Digests that `load_options::progress` stops are left out.
    [[nodiscard]] load_report report() const;

  private:
    [[nodiscard]] std::string key_of(std::string_view name) const;
    /// Judges and records one request. Returns a tensor that fits, or the error.
    [[nodiscard]] result<detail::load_target> ask(std::string_view key, const detail::target_type& type,
                                                  bool optional) const;
    /// Copies the values of a tensor that fits.
    [[nodiscard]] result<detail::load_target> fill(detail::load_target found) const;
    template <class Target> [[nodiscard]] static detail::target_type type_of(sizes_arg sizes) noexcept {
        detail::target_type out = detail::target_traits<Target>::type();
        out.sized = sizes.given();
        out.sizes = sizes.sizes();
        return out;
    }
    template <class Target> [[nodiscard]] static Target write(detail::load_target& from) noexcept {
        Target out{};
        detail::target_traits<Target>::write(out, from);
        return out;
    }

    detail::shared<detail::pull_record> record_;
    std::string prefix_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/pull.ipp>
#endif
