// tools/common.hpp: what the commands share: opening, paths, errors, the fields of a tensor.
//
// SPDX-License-Identifier: MIT
// In:      options, a file.
// Out:     a checkpoint; JSON in the forms that scripts rely on.
// Refuses: what the library refuses.
#pragma once

#include "commands.hpp"
#include "json.hpp"
#include "progress.hpp"

#include <ckpt/ckpt.hpp>
#include <ckpt/core/function_ref.hpp>
#include <ckpt/folder.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tool {

using key_path = std::vector<ckpt::path_element>;

// Files

/// zlib, or nothing where the program was built without it.
[[nodiscard]] ckpt::inflater inflater() noexcept;
/// Whether a command's FILE is a directory, or the index of a set of shards.
[[nodiscard]] bool is_folder(const std::string& file);
/// Whether there is a file of this name, or a member of an archive.
[[nodiscard]] bool exists(const std::string& file);
/// Opens a file, a directory or an index, without a mapping: a file that is cut while it is read is an error then, and
/// not a signal. `strict`: a global outside the policy refuses the file, not only its place.
[[nodiscard]] ckpt::result<ckpt::checkpoint> open(const std::string& file, policy_name policy, bool strict = false);
/// What is in a directory, or beside an index.
[[nodiscard]] ckpt::result<ckpt::folder_report> examine(const std::string& folder, policy_name policy);
[[nodiscard]] ckpt::result<ckpt::global_scan> scan(const std::string& file, policy_name policy);
/// A file that a scan did not look into, and why.
struct skipped_file {
    std::string file{};
    std::string why{};
};
/// Scans a file; of a directory every file, also below subfolders, by its bytes; of an index its shards. `visit` gets
/// each file that may hold pickles. Returns the files of a directory that were skipped.
std::vector<skipped_file>
scan_each(const std::string& file, policy_name policy,
          ckpt::detail::function_ref<void(const std::string&, ckpt::result<ckpt::global_scan>)> visit);
/// The path of a file in a directory, or beside an index.
[[nodiscard]] std::string beside(const std::string& folder, const std::string& name);
/// The names of the files that are looked at one by one: of a directory its checkpoints and what belongs to its model,
/// of an index its shards.
[[nodiscard]] std::vector<std::string> names_in(const std::string& folder, const ckpt::folder_report& report);
/// Their paths; the file itself where it is no folder (`report` is null) or has none.
[[nodiscard]] std::vector<std::string> each_file(const std::string& file, const ckpt::folder_report* report);

/// The state_dict at a path of a file, or the one best candidate.
[[nodiscard]] ckpt::result<ckpt::state_dict> weights_of(const ckpt::checkpoint& file,
                                                        const std::optional<std::string>& select);

/// The bytes of a file of at most `most` bytes; of a larger one the first `most` and one more.
[[nodiscard]] ckpt::result<std::string> read_text(const std::string& file, std::size_t most);
/// Reads the rules file, or makes the map, that was asked for. False where that fails: the command ends with
/// `exit_code` then.
[[nodiscard]] bool read_rules(const options& wanted, std::optional<ckpt::key_map>& out, int& exit_code);

/// The map that is called so in <ckpt/maps.hpp>, with its settings: "whisper_hf_to_openai",
/// "hf_llama_to_gguf:heads=32,kv_heads=8,head_dim=128".
[[nodiscard]] ckpt::result<ckpt::key_map> ready_map(std::string_view spelled);

// Paths

/// A path from the command line: elements joined by '/', or a JSON array. False for an array that is none.
[[nodiscard]] bool parse_path(std::string_view text, key_path& out);
/// The value at a path, and the path with each element in the kind that it has in the file.
struct found_value {
    ckpt::value value{};
    key_path path{};
    std::optional<ckpt::tensor> part{}; // of the tensor there, where that was asked for
    std::string part_name{};            // ":scale"
};
/// The value at a path of a file; of a text that is no path the tensor with this key: in the one best state_dict, else
/// in the whole file. Fails with `path_missing`, naming the nearest path, and with `key_duplicate` where an element
/// that is no JSON is the text of two keys. `text` is one that `parse_path` takes.
[[nodiscard]] ckpt::result<found_value> find(const ckpt::checkpoint& file, std::string_view text);
using ckpt::detail::path_text;
/// The elements of a path that the library gave as text; `root`, where there is one, tells numbers from digits.
[[nodiscard]] key_path elements_of(std::string_view text, const ckpt::value& root = {});
void write(json& to, std::span<const ckpt::path_element> path);
[[nodiscard]] ckpt::path_element element_of(const ckpt::value& key);
[[nodiscard]] ckpt::path_element element_of(std::uint64_t position);

// Errors

/// {"code": ..., "number": ..., ...}; fields that do not apply are left out.
void write(json& to, const ckpt::error& e, const ckpt::value& root = {});
/// Ends a command: the error document, or one line on standard error. Gives the exit code: the error's own, or
/// `exit_code`. `more` adds members to the document behind "error".
[[nodiscard]] int fail(
    const options& wanted, ckpt::error e, const ckpt::value& root = {}, std::optional<int> exit_code = {},
    ckpt::detail::function_ref<void(json&)> more = [](json&) {});
/// The error of an output that is not what was written: `what` it lacks.
[[nodiscard]] ckpt::error differs_from_written(std::string_view path, std::string_view what);
/// Ends a command that was used wrongly: a document with the code "usage", or one line on standard error.
[[nodiscard]] int misused(bool as_json, const std::string& what);
/// Ends a JSON document: the exit code, or that of a stream that took no more.
[[nodiscard]] int finish(json& document, int exit_code);

// Tensors

/// Gives each storage the name by which rows tell which tensors share bytes: its key, made unique where files are
/// nested.
class storage_names {
  public:
    [[nodiscard]] const std::string& of(const ckpt::tensor& t);

  private:
    std::unordered_map<std::uint32_t, std::string> names_{};
    std::unordered_map<std::string, std::uint32_t> used_{};
};

/// CRC-32 of tensors and their parts, all of which are read before the first is shown.
class tensor_digests {
  public:
    void add(const ckpt::tensor& t);
    void read(const options& wanted);
    [[nodiscard]] ckpt::result<std::uint32_t> of(const ckpt::tensor& t) const;

  private:
    std::vector<ckpt::tensor> tensors_{};
    std::vector<ckpt::result<std::uint32_t>> sums_{};
    std::unordered_map<const void*, std::size_t> numbers_{};
};

/// For people: what makes a tensor more than one array: its quantizer, its class, how it is distributed. Empty for
/// others.
[[nodiscard]] std::string kind_text(const ckpt::tensor& t);
/// Parts of a tensor, and parts of parts; counted to `most` at least.
[[nodiscard]] std::uint64_t count_parts(const ckpt::tensor& t, std::uint64_t most);
/// A finding outweighs what is merely not supported.
[[nodiscard]] int worse(int a, int b) noexcept;

/// The fields of a row behind key and path. Gives the exit code of the error in them, if there is one: 1 for a finding,
/// 4 for what is valid and not supported. `is_array`: it is a numpy array. `fault`: of the storage's record. `file`:
/// the one file of a folder that was opened.
int write_fields(json& to, const ckpt::tensor& t, bool is_array, storage_names& names, const tensor_digests* digest,
                 const ckpt::value& root, const ckpt::error* fault = nullptr, std::string_view file = {});

/// What --strict makes of an error in a row: a finding, or something valid that is not supported.
[[nodiscard]] int exit_of_row(const ckpt::error& e);

// Text

/// The dotted name of a class or a function, in present spelling; of getattr(class, name), the name that it stands for.
[[nodiscard]] std::string class_name(const ckpt::value& callable);
/// Any integer, as decimal text; beyond 4,300 digits as hexadecimal.
[[nodiscard]] std::string integer_text(const ckpt::value& v);
/// Bytes of an integer beyond 64 bits; 0 for others.
[[nodiscard]] std::size_t integer_bytes(const ckpt::value& v);

} // namespace tool
