// ckpt/write/torch_object.hpp: writes a whole object into the pickle of a torch zip file.
//
// SPDX-License-Identifier: MIT
// In:      a value of a checkpoint, a state_dict, or both: then the state_dict stands where it was.
// Out:     a pickle that torch.load reads with weights_only=True; the storages that it needs; what it has not.
// Refuses: paths of what is left out that are far longer than the pickle.
//
// Goes through the object with a stack of its own. A list, dictionary, set or object is written once, and referred to
// afterwards, so that shared objects stay shared, and cycles end.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/index_table.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/state/object_walk.hpp>
#include <ckpt/state/state_dict_data.hpp>
#include <ckpt/write/pickle_writer.hpp>
#include <ckpt/write/torch_tensors.hpp>
#include <ckpt/write/write_types.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class torch_object {
  public:
    /// `plain`: objects of classes that torch's safe mode refuses become dictionaries of their attributes.
    explicit torch_object(bool plain) noexcept : plain_{plain} {}

    /// Writes a value. `weights`, where not null, is written instead of the value `there`: each tensor in its place,
    /// where the keys are the same, and a flat OrderedDict otherwise.
    [[nodiscard]] result<void> write(const value& root, const state_dict_data* weights = nullptr, value there = {});
    /// Writes a state_dict as an OrderedDict, with the attributes of the dictionary that it was.
    [[nodiscard]] result<void> write(const state_dict_data& weights);

    std::string pickle{};
    std::vector<left_out_tensor> left_out{};
    std::vector<replaced_value> replaced{};
    std::size_t tensors{0}; ///< in all places
    [[nodiscard]] const plain_list<torch_storage>& storages() const noexcept { return tensors_.storages(); }

  private:
    /// What is being written, and what its children are.
    enum class form : std::uint8_t { list, tuple, dictionary, state, attributes };
    struct child {
        value key{};             // of a dictionary
        std::string_view name{}; // the same, where no value has it, or where it is a text that may occur twice
        value content{};         // absent for a tensor of a state_dict, and for a second value of a key
        const tensor_data* tensor{nullptr};
    };
    struct frame {
        form how{};
        bool named{};                        // dictionary: keys are names
        bool detached{};                     // tensors are plain ones, as those of Module.state_dict()
        const storage_source* from{nullptr}; // of tensors without a value
        value at{};
        plain_list<child> children{};
        std::size_t next{0};
    };
    /// The numbers of the objects of one file that were written.
    struct file_memory {
        const graph* of{nullptr};
        std::vector<std::uint32_t> numbers{}; // by object
    };
    static constexpr std::uint32_t unseen = 0, open = 1, first_number = 2;

    [[nodiscard]] std::uint32_t& seen(const value& v);
    void keep(const value& v) { seen(v) = first_number + out_.keep(); }
    /// Refers to a value that was written. False for others.
    [[nodiscard]] bool recall(const value& v);
    struct known_tensor {
        const tensor_data* data{nullptr};
        std::uint32_t number{};                    // as of a value; `open` while its attributes are written
        const state_dict_entry* stand_in{nullptr}; // what is written in its place
    };
    [[nodiscard]] known_tensor& known(const tensor_data* data);
    [[nodiscard]] std::uint32_t& seen(const tensor_data* data) { return known(data).number; }
    /// Finds what is written in place of each tensor of `there_`. False where the weights have other keys.
    [[nodiscard]] result<bool> match_weights(const state_dict_data& weights);
    /// A tensor as it is written.
    struct outgoing {
        tensor_data data{};
        const storage_source* from{nullptr};
        std::string_view entry{};
    };
    [[nodiscard]] outgoing outgoing_of(const tensor_data& data, const storage_source* from, std::string_view entry);

    /// Why a value cannot be written; what is below it is judged by itself.
    [[nodiscard]] result<void> judge(const value& v);
    [[nodiscard]] result<void> judge_object(const value& v);
    [[nodiscard]] result<void> judge_child(const frame& in, const child& c);
    /// Whether Python hashes a value, which is written whole: a number, a text, a tuple of such.
    [[nodiscard]] bool is_key(const value& v, std::uint32_t& budget) const;
    [[nodiscard]] bool is_key(const value& v) const {
        std::uint32_t budget = most_of_key;
        return is_key(v, budget);
    }
    static constexpr std::uint32_t most_of_key = 256; // values in it

    [[nodiscard]] result<void> run();
    /// Fails where the weights were not met, nor anything left out that they are in.
    [[nodiscard]] result<void> check_placed() const;
    [[nodiscard]] result<void> step();
    void close(const frame& done);
    /// Writes a value that `judge` took, or begins it.
    [[nodiscard]] result<void> begin(const value& v, bool detached);
    void write_key(const value& v);
    [[nodiscard]] bool write_leaf(const value& v);
    /// A tuple of keys; a torch.Size as one.
    void write_tuple(const value& v);
    void write_text(const value& v);
    void write_bytes(std::span<const std::byte> bytes, bool as_array);
    void write_storage(const value& v);
    [[nodiscard]] result<void> write_set(const value& v);
    void begin_sequence(const value& v);
    [[nodiscard]] result<void> begin_dictionary(const value& v);
    [[nodiscard]] result<void> begin_object(const value& v, bool detached);
    /// Takes the contents of children whose name one before them has: Python would keep one of them only.
    static void drop_repeated(plain_list<child>& children);
    [[nodiscard]] result<void> begin_module(const value& v);
    [[nodiscard]] result<void> begin_plain(const value& v, bool detached);
    [[nodiscard]] result<void> begin_tensor(const value& v, bool detached);
    void begin_weights(const state_dict_data& weights, const value& there);
    void write_tensor(const tensor_data& data, const storage_source* from, std::string_view entry, bool detached);
    frame& push(form how, const value& at) {
        frames_.emplace_back();
        frames_.back().how = how;
        frames_.back().at = at;
        return frames_.back();
    }

    /// Notes that the present child of the top frame is left out, or something of it.
    [[nodiscard]] result<void> leave_out(error why);
    void note_replaced(std::string was, std::string_view now);
    /// The path of the present child.
    [[nodiscard]] std::string here(bool dotted) const;

    bool plain_;
    pickle_writer out_{};
    torch_tensors tensors_{out_};
    arena memory_{};             // names
    walk_budget modules_{{}, 0}; // of all modules together
    std::vector<frame> frames_{};
    std::vector<file_memory> files_{};
    plain_list<known_tensor> known_{};
    growing_index_table table_{}; // over known_
    const state_dict_data* weights_{nullptr};
    value there_{};
    bool in_place_{false};                             // whether each tensor of the weights stands where it was
    bool placed_{false};                               // whether the weights were met, or what they are in was left out
    std::string_view path_{};                          // of what is written, before those in it
    std::string_view file_{};                          // for errors
    std::uint64_t text_left_{std::uint64_t{64} << 20}; // for paths of what is left out
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/write/impl/torch_object.ipp>
#endif
