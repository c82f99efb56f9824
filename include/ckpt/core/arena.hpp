// ckpt/core/arena.hpp: memory that is given back all at once.
//
// SPDX-License-Identifier: MIT
// In:      sizes that the caller has checked against what the file can justify.
// Out:     blocks, and arrays that grow without moving their elements.
// Refuses: nothing; `std::bad_alloc` passes through and what was taken is given back.
//
// Fresh memory from the system costs more than parsing does, so a caller who opens many files passes a `scratch`
// (core/scratch.hpp), which keeps the blocks of closed checkpoints for the next one.
#pragma once

#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/shared.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <span>
#include <type_traits>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

inline constexpr std::size_t block_bytes = std::size_t{1} << 16;
inline constexpr std::size_t block_alignment = 64;

struct block {
    std::byte* data{};
    std::size_t bytes{};
};

/// Free blocks: those of `block_bytes`, and larger ones.
class block_pool final : public counted {
  public:
    block_pool() = default;
    ~block_pool() override {
        for (const block& b : standard_) drop(b);
        for (const block& b : large_) drop(b);
    }

    [[nodiscard]] block take(std::size_t bytes) {
        plain_list<block>& list = bytes <= block_bytes ? standard_ : large_;
        for (std::size_t i = list.size(); i-- > 0;)
            if (list[i].bytes >= bytes && list[i].bytes / 4 <= (bytes > block_bytes ? bytes : block_bytes)) {
                const block out = list[i];
                list[i] = list.back();
                list.pop_back();
                return out;
            }
        // Room to remember the block is made here, where failing is allowed, and not when it comes back.
        if (list.capacity() <= made_) list.reserve(2 * made_ + 16);
        const block out = fresh(bytes <= block_bytes ? block_bytes : bytes);
        ++made_;
        return out;
    }

    void give_back(const block& b) noexcept { (b.bytes == block_bytes ? standard_ : large_).push_back(b); }

    static block fresh(std::size_t bytes) {
        return {static_cast<std::byte*>(::operator new(bytes, std::align_val_t{block_alignment})), bytes};
    }
    static void drop(const block& b) noexcept { ::operator delete(b.data, std::align_val_t{block_alignment}); }

  private:
    plain_list<block> standard_{};
    plain_list<block> large_{};
    std::size_t made_{0};
};

/// Bump allocation. Everything lives until the arena goes; no destructors run.
class arena {
  public:
    arena() noexcept = default;
    explicit arena(const shared<block_pool>& pool) noexcept : pool_{pool} {}
    arena(arena&& other) noexcept
        : pool_{std::move(other.pool_)},
          blocks_{std::move(other.blocks_)},
          at_{std::exchange(other.at_, nullptr)},
          end_{std::exchange(other.end_, nullptr)},
          total_{std::exchange(other.total_, 0)} {
        other.blocks_.clear();
    }
    arena& operator=(arena&& other) noexcept {
        if (this != &other) {
            release();
            pool_ = std::move(other.pool_);
            blocks_ = std::move(other.blocks_);
            other.blocks_.clear();
            at_ = std::exchange(other.at_, nullptr);
            end_ = std::exchange(other.end_, nullptr);
            total_ = std::exchange(other.total_, 0);
        }
        return *this;
    }
    ~arena() { release(); }

    /// `bytes` of uninitialised memory, aligned to `alignment` (a power of two, 64 at most).
    [[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment) {
        const auto address = reinterpret_cast<std::uintptr_t>(at_);
        const std::size_t gap = (alignment - (address & (alignment - 1))) & (alignment - 1);
        if (at_ != nullptr && static_cast<std::size_t>(end_ - at_) >= gap &&
            static_cast<std::size_t>(end_ - at_) - gap >= bytes) {
            std::byte* out = at_ + gap;
            at_ = out + bytes;
            return out;
        }
        if (bytes > block_bytes / 4) return whole_block(bytes).data; // does not waste the rest of the present block
        const block b = whole_block(block_bytes);
        at_ = b.data + bytes;
        end_ = b.data + b.bytes;
        return b.data;
    }

    template <class T> [[nodiscard]] T* allocate(std::size_t count) {
        static_assert(std::is_trivially_destructible_v<T>);
        if (count > ~std::size_t{0} / sizeof(T)) throw_bad_alloc();
        return static_cast<T*>(allocate(count * sizeof(T), alignof(T)));
    }

    /// A block of its own, at least `bytes` long.
    [[nodiscard]] block whole_block(std::size_t bytes) {
        if (blocks_.size() == blocks_.capacity()) blocks_.reserve(blocks_.empty() ? 16 : blocks_.size() * 2);
        const block b = pool_ ? pool_->take(bytes) : block_pool::fresh(bytes < block_bytes ? block_bytes : bytes);
        blocks_.push_back(b);
        total_ += b.bytes;
        return b;
    }

    /// Where blocks come from and go to; null for the system alone.
    [[nodiscard]] const shared<block_pool>& pool() const noexcept { return pool_; }
    /// Bytes taken from the system or the pool so far.
    [[nodiscard]] std::uint64_t total() const noexcept { return total_; }

  private:
    [[noreturn]] static void throw_bad_alloc() {
        // An allocation function reports it in the way of this build: by exception, or by ending the program.
        (void)::operator new(~std::size_t{0} / 2);
        std::terminate();
    }
    void release() noexcept {
        for (const block& b : blocks_) {
            if (pool_) pool_->give_back(b);
            else block_pool::drop(b);
        }
        blocks_.clear();
    }

    shared<block_pool> pool_{};
    plain_list<block> blocks_{};
    std::byte* at_{nullptr};
    std::byte* end_{nullptr};
    std::uint64_t total_{0};
};

/// An array in one block: its elements move when it grows, and the block goes back when it goes. For stacks and tables
/// that live as long as one pass does.
template <class T> class work_array {
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

  public:
    explicit work_array(const shared<block_pool>& pool) noexcept : pool_{pool} {}
    work_array(const work_array&) = delete;
    work_array& operator=(const work_array&) = delete;
    ~work_array() { drop(block_); }

    [[nodiscard]] CKPT_DETAIL_INLINE std::size_t size() const noexcept {
        return static_cast<std::size_t>(top_ - first_);
    }
    [[nodiscard]] CKPT_DETAIL_INLINE bool empty() const noexcept { return top_ == first_; }
    [[nodiscard]] CKPT_DETAIL_INLINE T* data() noexcept { return first_; }
    [[nodiscard]] CKPT_DETAIL_INLINE const T* data() const noexcept { return first_; }
    [[nodiscard]] CKPT_DETAIL_INLINE T& operator[](std::size_t i) noexcept { return first_[i]; }
    [[nodiscard]] CKPT_DETAIL_INLINE const T& operator[](std::size_t i) const noexcept { return first_[i]; }
    [[nodiscard]] CKPT_DETAIL_INLINE T& back() noexcept { return top_[-1]; }
    [[nodiscard]] CKPT_DETAIL_INLINE const T& back() const noexcept { return top_[-1]; }

    CKPT_DETAIL_INLINE void push_back(T value) {
        if (top_ == end_) grow();
        *top_++ = value;
    }
    CKPT_DETAIL_INLINE void pop_back() noexcept { --top_; }
    /// Drops all elements but the first `n`.
    CKPT_DETAIL_INLINE void shrink(std::size_t n) noexcept { top_ = first_ + n; }
    /// Fills up to `n` elements with `value`, and takes no more room than they need: many calls want numbers that grow
    /// by a part of themselves. Not all the room there is is filled: the block of a pool may be far larger.
    void extend(std::size_t n, T value) {
        if (n > static_cast<std::size_t>(end_ - first_)) move_to(n);
        T* const stop = first_ + n;
        while (top_ < stop) *top_++ = value;
    }

  private:
    void grow() {
        constexpr std::size_t least = 64, most = ~std::size_t{0} / sizeof(T) / 4;
        const std::size_t room = static_cast<std::size_t>(end_ - first_);
        const std::size_t wanted = room > most ? room + 1 : room * 2;
        move_to(wanted < least ? least : wanted);
    }
    void move_to(std::size_t wanted) {
        const std::size_t used = size();
        const block b = pool_ ? pool_->take(wanted * sizeof(T)) : block_pool::fresh(wanted * sizeof(T));
        if (used != 0) std::memcpy(b.data, first_, used * sizeof(T));
        drop(block_);
        block_ = b;
        first_ = reinterpret_cast<T*>(b.data);
        top_ = first_ + used;
        end_ = first_ + b.bytes / sizeof(T);
    }
    void drop(const block& b) noexcept {
        if (b.data == nullptr) return;
        if (pool_) pool_->give_back(b);
        else block_pool::drop(b);
    }

    shared<block_pool> pool_;
    block block_{};
    T* first_{nullptr};
    T* top_{nullptr};
    T* end_{nullptr};
};

/// An array in blocks of an arena: grows at the end, never moves an element, indexes in constant time.
template <class T> class chunked_array {
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

  public:
    /// Whether a power of two of elements fills a whole block but for an eighth. Of other elements, such as those of 80
    /// bytes, several chunks share one.
    static constexpr bool fills_blocks =
        std::bit_floor(block_bytes / sizeof(T)) * sizeof(T) >= block_bytes - block_bytes / 8;
    static constexpr std::size_t chunk = std::bit_floor((fills_blocks ? block_bytes : block_bytes / 4) / sizeof(T));
    static constexpr std::size_t shift = static_cast<std::size_t>(std::countr_zero(chunk));

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] T& operator[](std::size_t i) noexcept { return begin_of(i)[i & (chunk - 1)]; }
    [[nodiscard]] const T& operator[](std::size_t i) const noexcept { return begin_of(i)[i & (chunk - 1)]; }
    [[nodiscard]] T& back() noexcept { return (*this)[size_ - 1]; }
    /// The elements from `i` to the end of its chunk or of the array: for loops over all of them.
    [[nodiscard]] std::span<const T> run(std::size_t i) const noexcept {
        const std::size_t in_chunk = chunk - (i & (chunk - 1));
        return {&(*this)[i], in_chunk < size_ - i ? in_chunk : size_ - i};
    }

    CKPT_DETAIL_INLINE void push_back(arena& memory, const T& value) {
        if ((size_ & (chunk - 1)) == 0) next_ = begin_chunk(memory);
        ::new (static_cast<void*>(next_)) T(value);
        ++next_;
        ++size_;
    }
    /// Forgets the last element; its place is used again.
    void pop_back() noexcept {
        --size_;
        next_ = &(*this)[size_];
    }
    /// Forgets all elements but the first `n`, which are there.
    void shrink(std::size_t n) noexcept {
        while (size_ > n) pop_back();
    }

  private:
    [[nodiscard]] T* begin_chunk(arena& memory) {
        if ((size_ >> shift) == chunks_.size())
            chunks_.push_back(fills_blocks ? memory.whole_block(block_bytes).data
                                           : static_cast<std::byte*>(memory.allocate(chunk * sizeof(T), alignof(T))));
        return begin_of(size_);
    }
    [[nodiscard]] T* begin_of(std::size_t i) const noexcept { return reinterpret_cast<T*>(chunks_[i >> shift]); }

    plain_list<std::byte*> chunks_{}; // bytes, so that one kind of vector serves all arrays
    T* next_{nullptr};
    std::size_t size_{0};
};

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI
