// tests/pickle/globals.cpp: rules G1 and G2: which names a policy admits, and what is said of the others.
//
// SPDX-License-Identifier: MIT
#include "../support/pickle_writer.hpp"

#include <ckpt/torch/scan.hpp>

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace globals_test {

using ckpt::errc;
using ckpt::verdict;
using namespace test_support;
using namespace test_support::pickles;

namespace {

ckpt::result<ckpt::value> answer(ckpt::call& c) { return c.make_int(42); }
ckpt::result<ckpt::value> first_argument(ckpt::call& c) { return c.args[0]; }
ckpt::result<ckpt::value> past_the_end(ckpt::call& c) {
    if (const auto n = c.args[1000].as_int(); !n) return n.error();
    return c.make_none();
}

template <class Policy> verdict judge(std::string_view module, std::string_view name) {
    const auto list = ckpt::detail::allowlist_of<Policy>();
    return ckpt::detail::look_up(list, module, name).verdict;
}

using one = ckpt::allow<ckpt::global<"my.mod", "f", answer>>;

TEST_CASE("G2: a builder is reached by exactly its pair, wherever the dots are") {
    CHECK(judge<one>("my.mod", "f") == verdict::build);
    const std::pair<std::string_view, std::string_view> others[]{{"my", "mod.f"},
                                                                 {"my.mod.f", ""},
                                                                 {"", "my.mod.f"},
                                                                 {"my.mod", "F"},
                                                                 {"my.mod", "f "},
                                                                 {"my.mod", " f"},
                                                                 {"my.mod", std::string_view("f\0", 2)},
                                                                 {"my.mod", "f.g"},
                                                                 {"my.mod.", "f"},
                                                                 {"My.mod", "f"},
                                                                 {"my.mod", ""},
                                                                 {"my.mo", "f"},
                                                                 {"xmy.mod", "f"},
                                                                 {"my.mod", "ff"}};
    for (const auto& [module, name] : others) CHECK(judge<one>(module, name) == verdict::refuse);
    CHECK(read<one>(global("my.mod", "f") + ")R.") == "42");
    CHECK(parse<one>(global("my", "mod.f") + ")R.").root().refusal()->code == errc::global_not_allowed);
    CHECK(parse<one>(stack_global("my", "mod.f") + ")R.").root().refusal()->code == errc::global_not_allowed);
    CHECK(judge<ckpt::weights_policy>("torch", "_utils._rebuild_tensor_v2") == verdict::refuse);
    CHECK(judge<ckpt::weights_policy>("torch.nn", "parameter.Parameter") == verdict::refuse);
}

TEST_CASE("G2: every way to name a global has the same verdict") {
    for (const std::string& named :
         std::vector<std::string>{global("my.mod", "f") + ")R", stack_global("my.mod", "f") + ")R", "(imy.mod\nf\n"s,
                                  "(" + global("my.mod", "f") + 'o', global("my.mod", "f") + ")\x81",
                                  short_text("my.mod") + "\x94" + short_text("f") + "\x94" + "00h\0h\1\x93)R"s,
                                  text("f") + "q\1" + text("my.mod") + "h\1\x93)R"}) {
        CHECK(read<one>(named + '.') == "42");
        CHECK(code_of<ckpt::weights_policy>(named + '.') == errc::global_not_allowed);
    }
}

TEST_CASE("G1: a global outside the allowlist is refused wherever it stands, called or not") {
    const std::string g = global("my.mod", "C");
    for (const std::string& p :
         std::vector<std::string>{g + '.', g + "0N.", '(' + g + "1N.", "}N" + g + "s.", "}" + g + "Ns.", g + ")R0N.",
                                  g + "q\0000N."s, "(imy.mod\nC\n0N.", stack_global("my.mod", "C") + "0N.", g + "Q0N.",
                                  global("collections", "OrderedDict") + ")R}" + g + "Nsb.",
                                  global("collections", "OrderedDict") + g + "\x85R."}) {
        CAPTURE(p);
        CHECK(code_of<ckpt::weights_policy>(p) == errc::global_not_allowed);
        CHECK(code_of<ckpt::training_policy>(p) == errc::none);
        CHECK(parse<ckpt::training_policy>(p).graph.errors.at(0)->code == errc::global_not_allowed);
        CHECK(code_of<ckpt::inspect_policy>(p) == errc::none);
    }
}

TEST_CASE("G1: the error tells name, place, path, number and what to do, also when damage follows") {
    const std::string before = "}(" + text("hyper");
    for (const std::string& after : {"u."s, "\xff"s, ""s, "NNNu."s, "X\xff\xff\xff\xff"s}) {
        const parsed p = parse<ckpt::weights_policy>(before + global("my.mod", "C") + global("other", "D") + "00" +
                                                     global("my.mod", "C") + after);
        REQUIRE(p.code() == errc::global_not_allowed);
        CHECK(p.error.module == "my.mod");
        CHECK(p.error.name == "C");
        CHECK(p.error.path == "hyper");
        CHECK(p.error.opcode == 'c');
        CHECK(p.error.opcode_name == "GLOBAL");
        CHECK(p.error.offset == parsed::base + before.size());
        CHECK(p.error.detail.find("2 other uses") != std::string::npos);
        CHECK(p.error.message().find("Add ckpt::global<\"my.mod\", \"C\"> to the policy") != std::string::npos);
        CHECK(p.error.message().find("nothing was run") != std::string::npos);
    }
    CHECK(parse<ckpt::weights_policy>(stack_global("a", "b") + '.').error.opcode_name == "STACK_GLOBAL");
    CHECK(parse<ckpt::weights_policy>("(ia\nb\n.").error.opcode_name == "INST");
    CHECK(parse<ckpt::weights_policy>(global("a", "b") + '.').error.detail.find("other use") == std::string::npos);
}

TEST_CASE("G1: damage before the first refused global is told as damage") {
    CHECK(code_of<ckpt::weights_policy>("\xff" + global("my.mod", "C") + '.') == errc::pickle_opcode);
}

TEST_CASE("G1: names that can only be an attack are refused by every policy but inspection") {
    const std::pair<const char*, const char*> attacks[]{{"os", "system"},          {"posix", "system"},
                                                        {"builtins", "eval"},      {"__builtin__", "eval"},
                                                        {"__builtin__", "apply"},  {"torch", "serialization.os.system"},
                                                        {"torch.nn", "os.system"}, {"collections", "abc.sys.modules"},
                                                        {"cPickle", "loads"},      {"commands", "getoutput"},
                                                        {"operator", "attrgetter"}};
    using wide = ckpt::allow<ckpt::training_policy, ckpt::inert_others>;
    for (const auto& pair : attacks) {
        const std::string module = pair.first;
        const std::string name = pair.second;
        CAPTURE(module);
        CAPTURE(name);
        for (const std::string& g : {global(module, name), stack_global(module, name)}) {
            CHECK(code_of<ckpt::weights_policy>(g + ")R.") == errc::global_not_allowed);
            CHECK(code_of<ckpt::training_policy>(g + ")R.") == errc::global_not_allowed);
            CHECK(code_of<wide>(g + ")R.") == errc::global_not_allowed);
            CHECK(read<ckpt::inspect_policy>(g + ")R.") == module + '.' + name + "()");
        }
        CHECK(judge<wide>(module, name) == verdict::dangerous);
        CHECK(judge<ckpt::inspect_policy>(module, name) == verdict::dangerous);
        CHECK(parse<wide>(global(module, name) + '.').error.message().find("can only be an attack") !=
              std::string::npos);
    }
    CHECK(judge<wide>("my.mod", "Outer.Inner") == verdict::inert);
    CHECK(code_of<ckpt::inspect_policy>(stack_global("my.mod", "Outer.Inner") + '.') == errc::none);
}

TEST_CASE("G2: old spellings reach the builder of the present one") {
    CHECK(read<ckpt::weights_policy>(global("__builtin__", "set") + "](K\1e\x85R.") == "set{1}");
    CHECK(read<ckpt::weights_policy>(global("builtins", "set") + "](K\1e\x85R.") == "set{1}");
    CHECK(judge<ckpt::training_policy>("numpy.core.multiarray", "scalar") == verdict::build);
    CHECK(judge<ckpt::training_policy>("numpy._core.multiarray", "scalar") == verdict::build);
    using mine = ckpt::allow<ckpt::training_policy, ckpt::global<"numpy._core.multiarray", "scalar", answer>>;
    CHECK(read<mine>(global("numpy.core.multiarray", "scalar") + ")R.") == "42");
    using old = ckpt::allow<ckpt::global<"numpy.core.multiarray", "scalar", answer>>;
    CHECK(judge<old>("numpy.core.multiarray", "scalar") == verdict::build);
    CHECK(judge<old>("numpy._core.multiarray", "scalar") == verdict::refuse);
}

TEST_CASE("G2: a later part replaces a shipped name, exact names beat patterns") {
    using mine = ckpt::allow<ckpt::weights_policy, ckpt::global<"collections", "OrderedDict", answer>>;
    CHECK(read<mine>(global("collections", "OrderedDict") + ")R.") == "42");
    using inert = ckpt::allow<ckpt::weights_policy, ckpt::global<"collections", "OrderedDict">>;
    CHECK(read<inert>(global("collections", "OrderedDict") + ")R.") == "collections.OrderedDict()");
    using wide = ckpt::allow<ckpt::weights_policy, ckpt::global<"**", "*">>;
    CHECK(read<wide>(global("collections", "OrderedDict") + ")R.") == "collections.OrderedDict{}");
    CHECK(judge<wide>("a.b", "c") == verdict::inert);
    CHECK(judge<wide>("a.b", "c.d") == verdict::refuse);
    using one_module = ckpt::allow<ckpt::global<"my.*", "*">>;
    CHECK(judge<one_module>("my.mod", "x") == verdict::inert);
    CHECK(judge<one_module>("my", "mod.x") == verdict::refuse);
    CHECK(judge<one_module>("my.a.b", "x") == verdict::refuse);
}

TEST_CASE("a builder that passes its argument on gives that very object, with its state and items") {
    using mine = ckpt::allow<ckpt::inert_others, ckpt::global<"my.mod", "f", first_argument>>;
    CHECK(read<mine>(global("my.mod", "f") + global("a", "b") + "K\7\x85R}K\1K\2sbK\5a\x85R.") == "a.b(7)!{1: 2}+[5]");
    CHECK(read<mine>(global("my.mod", "f") + "](K\1e\x85R.") == "[1]");
    CHECK(read<mine>(global("my.mod", "f") + ")R.") == "absent");
    using strict = ckpt::allow<ckpt::global<"my.mod", "f", past_the_end>>;
    CHECK(read<strict>(global("my.mod", "f") + ")R.") == "refused wrong_type");
}

TEST_CASE("the shipped tables are sorted, and none of their names is an attack") {
    const auto sorted = []<std::size_t N>(const ckpt::global_entry(&entries)[N]) {
        for (std::size_t i = 0; i < N; ++i) {
            CAPTURE(entries[i].module);
            CAPTURE(entries[i].name);
            CHECK_FALSE(ckpt::detail::is_pattern(entries[i]));
            CHECK_FALSE(ckpt::detail::is_attack(entries[i].module, entries[i].name));
            if (i > 0) CHECK(ckpt::detail::compare_pair(entries[i].module, entries[i].name, entries[i - 1]) > 0);
        }
    };
    sorted(ckpt::torch_globals::entries);
    sorted(ckpt::numpy_globals::entries);
    sorted(ckpt::record_names::entries);
    for (const ckpt::global_entry& e : ckpt::framework_globals::entries) {
        CHECK((e.build == nullptr));
        CHECK(ckpt::detail::is_pattern(e));
        CHECK_FALSE(ckpt::detail::is_attack(e.module, e.name));
    }
}

TEST_CASE("a scan tells each name once, with count, first place and verdict, and what stopped it") {
    const std::string p = "}(" + text("a") + global("my.mod", "C") + text("b") + global("collections", "OrderedDict") +
                          text("c") + global("my.mod", "C") + text("d") + global("os", "system") + "u\xff";
    const auto list = ckpt::detail::allowlist_of<ckpt::training_policy>();
    const ckpt::limits limits{};
    ckpt::detail::global_scanner scanner{list, limits};
    const auto damage = scanner.scan(std::as_bytes(std::span{p}), 1000, "r");
    REQUIRE(damage);
    CHECK(damage->code == errc::pickle_opcode);
    const auto uses = scanner.finish(std::nullopt);
    REQUIRE(uses.size() == 3);
    CHECK(uses[0].module == "my.mod");
    CHECK(uses[0].count == 2);
    CHECK(uses[0].offset == 1000 + 2 + 6);
    CHECK(uses[0].verdict == verdict::refuse);
    CHECK(uses[0].path == "a");
    CHECK(uses[1].verdict == verdict::build);
    CHECK(uses[2].verdict == verdict::dangerous);
    CHECK(uses[2].path == "d");
}

TEST_CASE("a scan looks into nested pickles and behind the first one") {
    const std::string inner = global("os", "system") + ")R.";
    const auto uses_of = [](const std::string& p) {
        const auto list = ckpt::detail::allowlist_of<ckpt::training_policy>();
        const ckpt::limits limits{};
        ckpt::detail::global_scanner scanner{list, limits};
        (void)scanner.scan(std::as_bytes(std::span{p}), 0, "r");
        return scanner.finish(std::nullopt);
    };
    const std::string load = global("torch.storage", "_load_from_bytes");
    auto uses = uses_of(load + bytes(inner) + "\x85R.");
    REQUIRE(uses.size() == 2);
    CHECK(uses[1].offset == load.size() + 5);
    uses = uses_of(load + global("_codecs", "encode") + text(inner) + text("latin1") + "\x86R\x85R.");
    REQUIRE(uses.size() == 3);
    CHECK(uses[2].module == "os");
    uses = uses_of("N.N." + inner);
    REQUIRE(uses.size() == 1);
    CHECK(uses[0].offset == 4);
    // Text that was unescaped lies nowhere in the file: the call's place stands for it.
    uses =
        uses_of(load + global("_codecs", "encode") + "Vcos\\u000asystem\\u000a)R.\n" + text("latin1") + "\x86R\x85R.");
    REQUIRE(uses.size() == 3);
    CHECK(uses[2].offset < 200);
}

namespace {

/// The verdict on a file whose data.pkl has these bytes.
ckpt::file_verdict verdict_of(const std::string& p) {
    const auto list = ckpt::detail::allowlist_of<ckpt::training_policy>();
    const ckpt::limits limits{};
    ckpt::detail::global_scanner scanner{list, limits};
    auto damage = scanner.scan(std::as_bytes(std::span{p}), 0, "r");
    return scanner.finish(std::move(damage)).verdict();
}

} // namespace

TEST_CASE("R1: a scan reads 10,000 pickles of a region, three levels of nested ones, and 16 calls that make bytes") {
    const auto scanned = [](const std::string& p) {
        const auto list = ckpt::detail::allowlist_of<ckpt::training_policy>();
        const ckpt::limits limits{};
        ckpt::detail::global_scanner scanner{list, limits};
        (void)scanner.scan(std::as_bytes(std::span{p}), 0, "r");
        return scanner.finish(std::nullopt);
    };
    const auto seen = [&](const std::string& p) {
        for (const ckpt::global_use& u : scanned(p))
            if (u.module == "my.mod") return true;
        return false;
    };
    const std::string mine = global("my.mod", "C") + '.';
    CHECK(seen(times(9'999, "N.") + mine));
    CHECK_FALSE(seen(times(10'000, "N.") + mine));
    const std::string load = global("torch.storage", "_load_from_bytes");
    std::string two = mine;
    for (int i = 0; i < 2; ++i) two = load + bytes(two) + "\x85R.";
    CHECK(seen(two));
    CHECK(scanned(two).stopped() == nullptr);
    CHECK_FALSE(seen(load + bytes(two) + "\x85R."));
    CHECK(scanned(load + bytes(two) + "\x85R.").verdict() == ckpt::file_verdict::unreadable);
    const auto made = [&](int calls) {
        std::string content = bytes(mine);
        for (int i = 0; i < calls; ++i) content = global("builtins", "bytes") + content + "\x85R";
        return load + content + "\x85R.";
    };
    CHECK(seen(made(16)));
    CHECK(scanned(made(16)).stopped() == nullptr);
    CHECK(seen(made(17))); // by its own bytes
    CHECK(scanned(made(17)).stopped() != nullptr);
}

TEST_CASE("an empty pickle, damage behind the first pickle and pickles past the ten thousandth are not clean") {
    using ckpt::file_verdict;
    CHECK(verdict_of("") == file_verdict::unreadable);
    CHECK(verdict_of("N.") == file_verdict::clean);
    CHECK(verdict_of("N.N.") == file_verdict::clean);
    CHECK(verdict_of("N.\xff") == file_verdict::unreadable);
    CHECK(verdict_of("N.N") == file_verdict::unreadable);
    CHECK(verdict_of("N." + global("os", "system") + "\xff") == file_verdict::dangerous);
    CHECK(verdict_of(times(10'000, "N.")) == file_verdict::clean);
    CHECK(verdict_of(times(10'001, "N.")) == file_verdict::unreadable);
    // Of a checkpoint in bytes five pickles are read; behind them are storages. Other bytes may hold anything.
    const std::string load = global("torch.storage", "_load_from_bytes");
    CHECK(verdict_of(load + bytes("N.N.N.N.N.\xff" + global("mine", "C")) + "\x85R.") == file_verdict::clean);
    CHECK(verdict_of(load + bytes("N.N.N.N.\xff") + "\x85R.") == file_verdict::unreadable);
    CHECK(verdict_of(load + bytes("N.N.N.N." + global("mine", "C") + '.') + "\x85R.") == file_verdict::foreign);
    CHECK(verdict_of(global("io", "BytesIO") + bytes("\x80\2N.\xff") + "\x85R.") == file_verdict::clean);
}

TEST_CASE("what _load_from_bytes gets is looked into, whoever makes the bytes, or it is not clean") {
    using ckpt::file_verdict;
    const std::string inner = "\x80\2" + global("os", "system") + ")R.",
                      load = global("torch.storage", "_load_from_bytes"), encode = global("_codecs", "encode"),
                      to_bytes = global("builtins", "bytes"), array = global("numpy.core.multiarray", "_reconstruct");
    const auto loaded = [&](const std::string& made) { return verdict_of(load + made + "\x85R."); };
    std::string numbers = "](", latin;
    for (const char c : inner) {
        numbers += 'K' + std::string(1, c);
        latin += static_cast<unsigned char>(c) < 0x80 ? std::string(1, c) : "\xc2" + std::string(1, c);
    }
    numbers += 'e';
    const std::string state = "(K\1K\2\x85NK\0"s;
    for (const std::string& made :
         {bytes(inner), to_bytes + numbers + "\x85R", global("builtins", "bytearray") + numbers + "\x85R",
          encode + text(latin) + text("latin1") + "\x86R", to_bytes + text(latin) + text("latin-1") + "\x86R",
          to_bytes + encode + text(latin) + text("latin1") + "\x86R\x85R", array + ")R" + state + bytes(inner) + "tb",
          array + ")R" + state + encode + text(latin) + text("latin1") + "\x86Rtb",
          global("numpy._core.numeric", "_frombuffer") + bytes(inner) + "\x85R"}) {
        CAPTURE(made);
        CHECK(loaded(made) == file_verdict::dangerous);
        CHECK(verdict_of(global("io", "BytesIO") + made + "\x85R.") == file_verdict::dangerous);
    }
    CHECK(loaded(encode + text(global("os", "system") + ")R.") + "\x85R") == file_verdict::dangerous);
    // Other encodings, and what no rule makes bytes of
    const std::string odd = text("an EBCDIC pickle");
    for (const std::string& made :
         {encode + odd + text("cp037") + "\x86R", to_bytes + odd + text("cp037") + "\x86R",
          encode + odd + text("utf-8") + text("surrogateescape") + "\x87R", encode + odd + "N\x86R", "N"s, "]"s,
          array + ")R", global("array", "array") + text("B") + numbers + "\x86R", to_bytes + ")R",
          bytes("PK\3\4 an archive"), bytes("\x1f\x8b\x08 compressed")}) {
        CAPTURE(made);
        CHECK(loaded(made) == file_verdict::unreadable);
    }
    CHECK(verdict_of(load + ")R.") == file_verdict::unreadable);
    // An encoding that is a class: the first, the second, ... the twelfth of the pickle
    std::string classes;
    for (char i = 0; i < 12; ++i) {
        classes += global("collections", "OrderedDict") + 'q' + i + '0';
        CHECK(verdict_of(classes + load + encode + odd + 'h' + i + "\x86R\x85R.") == file_verdict::unreadable);
    }
    // Handed on and not called
    for (const std::string& p : {global("functools", "partial") + load + bytes("PK\3\4") + "\x86R)R", "(" + load + "l",
                                 "}" + text("a") + load + "s", global("collections", "defaultdict") + load + "\x85R"}) {
        CAPTURE(p);
        CHECK(verdict_of(p + '.') == file_verdict::unreadable);
    }
    // A list is read once, however many calls get it.
    CHECK(verdict_of(numbers + "q\0000"s + times(1'000, to_bytes + "h\0\x85R0"s) + "N.") == file_verdict::dangerous);
}

TEST_CASE("a scan looks into bytes that begin like a pickle, whoever gets them") {
    const std::string inner = "\x80\2" + global("os", "system") + ")R.";
    CHECK(verdict_of(global("io", "BytesIO") + bytes(inner) + "\x85R.") == ckpt::file_verdict::dangerous);
    CHECK(verdict_of("(" + bytes(inner) + "l.") == ckpt::file_verdict::dangerous);
    CHECK(verdict_of("(" + bytes(global("os", "system") + ")R.") + "l.") == ckpt::file_verdict::dangerous);
    CHECK(verdict_of("(" + bytes("\x80\2 is no pickle") + "l.") == ckpt::file_verdict::clean);
    CHECK(verdict_of("(" + bytes("os system") + "l.") == ckpt::file_verdict::clean);
}

TEST_CASE("a file's verdict folds damage in: only a scan that was read to its end is clean") {
    const std::string known = global("argparse", "Namespace"), foreign = global("mine", "Net"),
                      attack = global("os", "system");
    CHECK(verdict_of(known + '.') == ckpt::file_verdict::clean);
    CHECK(verdict_of(known + foreign + '.') == ckpt::file_verdict::foreign);
    CHECK(verdict_of("\xff") == ckpt::file_verdict::unreadable); // no name at all
    CHECK(verdict_of(known + foreign + "\xff") == ckpt::file_verdict::unreadable);
    CHECK(verdict_of(attack + '.') == ckpt::file_verdict::dangerous);
    CHECK(verdict_of(attack + "\xff") == ckpt::file_verdict::dangerous);
    CHECK(name(ckpt::file_verdict::unreadable) == "unreadable");
}

TEST_CASE("getattr is inert where it names a member of a listed enum, and otherwise an attack") {
    const auto verdict_of = [](const std::string& p) {
        const auto list = ckpt::detail::allowlist_of<ckpt::training_policy>();
        const ckpt::limits limits{};
        ckpt::detail::global_scanner scanner{list, limits};
        (void)scanner.scan(std::as_bytes(std::span{p}), 0, "r");
        return scanner.finish(std::nullopt).verdict();
    };
    const std::string get = global("builtins", "getattr"), safe = global("uuid", "SafeUUID"),
                      space = global("argparse", "Namespace");
    const auto of = [&](const std::string& owner, const std::string& member) {
        return get + owner + text(member) + "\x86R";
    };
    // What frameworks write: members of enums, classes inside classes, methods as values.
    for (const std::string& p :
         {of(safe, "safe"), of(global("zoneinfo", "ZoneInfo"), "_unpickle"),
          of(global("torch._C", "_VariableFunctionsClass"), "relu"),
          of(global("mmengine.logging.history_buffer", "HistoryBuffer"), "min"),
          of(global("torch.distributed._shard.sharded_tensor.api", "ShardedTensor"), "ProcessGroupState"),
          get + "q\0000"s + of(safe, "safe"), get + "0N"}) {
        CAPTURE(p);
        CHECK(verdict_of(p + '.') == ckpt::file_verdict::clean);
        CHECK(code_of<ckpt::training_policy>(p + '.') == errc::none);
    }
    for (const std::string& p : {get,
                                 of(safe, "__class__"),
                                 of(safe, "_x"),
                                 of(safe, "a.b"),
                                 of(safe, ""),
                                 of(space, "safe"),
                                 of(global("mine", "Enum"), "__class__"),
                                 of(global("mine", "os"), "system"),
                                 of(text("uuid"), "safe"),
                                 get + safe + "\x85R",
                                 get + ")R",
                                 get + safe + text("safe") + text("x") + "\x87R",
                                 global("functools", "partial") + get + "\x85R",
                                 global("functools", "partial") + get + safe + text("safe") + "\x87R",
                                 "(" + get + "l",
                                 "}" + text("a") + get + "s",
                                 "}" + get + text("a") + "s",
                                 of(safe, "safe") + get + "b",
                                 "(" + get + safe + text("__doc__") + "o",
                                 get + "q\1" + safe + text("safe") + "\x86R0h\1\x85"}) {
        CAPTURE(p);
        CHECK(verdict_of(p + '.') == ckpt::file_verdict::dangerous);
        CHECK(code_of<ckpt::training_policy>(p + '.') == errc::global_not_allowed);
        CHECK(code_of<ckpt::inspect_policy>(p + '.') == errc::none);
    }
    CHECK(verdict_of(of(global("mine", "Enum"), "A") + '.') == ckpt::file_verdict::foreign);
    CHECK(code_of<ckpt::training_policy>(of(global("mine", "Enum"), "A") + '.') == errc::none); // at its place
    // A program that lists its own enum may read members of it.
    using mine = ckpt::allow<ckpt::training_policy, ckpt::global<"mine", "Enum">>;
    CHECK(code_of<mine>(of(global("mine", "Enum"), "A") + '.') == errc::none);
    CHECK(code_of<mine>(of(global("mine", "Enum"), "__class__") + '.') == errc::global_not_allowed);
}

TEST_CASE("R1: the places of names are told of 4,097 globals, of 256 KiB of text and of four million steps") {
    const auto last_path = [](const std::string& p) {
        const auto list = ckpt::detail::allowlist_of<ckpt::training_policy>();
        const ckpt::limits limits{};
        ckpt::detail::global_scanner scanner{list, limits};
        (void)scanner.scan(std::as_bytes(std::span{p}), 0, "r");
        const auto uses = scanner.finish(std::nullopt);
        return uses[uses.size() - 1].path;
    };
    const std::string mine = text("here") + global("my.mod", "C") + "s.", other = text("k") + global("a", "b") + "s";
    CHECK(last_path('}' + times(4'096, other) + mine) == "here");
    CHECK(last_path('}' + times(4'097, other) + mine) == "");
    const std::string key(120, 'k'); // is shown whole
    const auto long_keys = [&](std::size_t bytes) {
        return '}' + times(bytes / 128, text(key + "12345678") + global("a", "b") + "s") +
               (bytes % 128 > 0 ? text(std::string(bytes % 128, 'k')) + global("a", "b") + "s" : "") + mine;
    };
    CHECK(last_path(long_keys(1 << 18)) == "here");
    CHECK(last_path(long_keys((1 << 18) + 1)) == "");
    // Each of 2,048 names is looked up below as many values, the last one perhaps below one more.
    const std::string deep = times(2'048, "N"), popped = global("a", "b") + '0';
    CHECK(last_path(deep + times(2'048, popped) + '}' + mine) == "here");
    CHECK(last_path(deep + times(2'047, popped) + 'N' + popped + '}' + mine) == "");
}

} // namespace

} // namespace globals_test
