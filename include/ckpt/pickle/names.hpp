// ckpt/pickle/names.hpp: names of globals: present spellings, attacks, patterns.
//
// SPDX-License-Identifier: MIT
// In:      a (module, name) pair as written in a pickle.
// Out:     its present spelling (Python 2 to 3, numpy 1 to 2, renamed packages); whether it can only be an attack;
//          whether a dotted pattern matches.
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The segment of a dotted name that begins at `at`. Moves `at` behind the next dot, or to npos after the last segment.
[[nodiscard]] constexpr std::string_view take_segment(std::string_view text, std::size_t& at) noexcept {
    const std::size_t begin = at;
    const std::size_t dot = text.find('.', begin);
    at = dot == std::string_view::npos ? dot : dot + 1;
    return text.substr(begin, dot == std::string_view::npos ? dot : dot - begin);
}

/// Whether `pattern` matches the whole of `text`; `*` matches any number of characters.
[[nodiscard]] constexpr bool matches_segment(std::string_view pattern, std::string_view text) noexcept {
    std::size_t p = 0;
    std::size_t t = 0;
    std::size_t star = std::string_view::npos; // the place behind the last star
    std::size_t reach = 0;                     // the end of the text that this star matches
    while (t < text.size() || p < pattern.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = ++p;
            reach = t;
        } else if (p < pattern.size() && t < text.size() && pattern[p] == text[t]) {
            ++p;
            ++t;
        } else if (star != std::string_view::npos && reach < text.size()) {
            p = star;
            t = ++reach;
        } else {
            return false;
        }
    }
    return true;
}

/// Whether `pattern` matches the whole of a dotted name. `*` matches any number of characters of one segment, `**` any
/// number of whole segments. Does not recurse; takes at most the product of both lengths.
[[nodiscard]] constexpr bool matches_dotted(std::string_view pattern, std::string_view text) noexcept {
    constexpr std::size_t end = std::string_view::npos;
    // Most names fail by their first character.
    if (!pattern.empty() && pattern[0] != '*' && (text.empty() || text[0] != pattern[0])) return false;
    std::size_t p = 0;
    std::size_t t = 0;
    bool deep = false;      // whether a `**` came before
    std::size_t deep_p = 0; // the place behind it in the pattern
    std::size_t deep_t = 0; // the place behind the text that it matches
    while (p != end || t != end) {
        if (p != end) {
            std::size_t next_p = p;
            const std::string_view segment = take_segment(pattern, next_p);
            if (segment == "**") {
                if (next_p == end) return true;
                deep = true;
                p = deep_p = next_p;
                deep_t = t;
                continue;
            }
            std::size_t next_t = t;
            if (t != end && matches_segment(segment, take_segment(text, next_t))) {
                p = next_p;
                t = next_t;
                continue;
            }
        }
        if (!deep || deep_t == end) return false;
        (void)take_segment(text, deep_t); // `**` matches one segment more
        p = deep_p;
        t = deep_t;
    }
    return true;
}

struct renamed {
    std::string_view from_module{};
    std::string_view from_name{}; // empty: every name of the module
    std::string_view to_module{};
    std::string_view to_name{}; // empty: the name does not change
};

// Names of Python 2, as protocol 2 writes them (CPython's Lib/_compat_pickle.py), and names that changed in torch and
// other packages (torch/_utils.py, torch/storage.py, numpy 2's release notes).
inline constexpr renamed renamed_globals[]{
    {"__builtin__", "xrange", "builtins", "range"},
    {"__builtin__", "unicode", "builtins", "str"},
    {"__builtin__", "long", "builtins", "int"},
    {"__builtin__", "basestring", "builtins", "str"},
    {"__builtin__", "reduce", "functools", "reduce"},
    {"__builtin__", "intern", "sys", "intern"},
    {"__builtin__", "unichr", "builtins", "chr"},
    {"__builtin__", "raw_input", "builtins", "input"},
    {"__builtin__", "", "builtins", ""},
    {"copy_reg", "", "copyreg", ""},
    {"exceptions", "", "builtins", ""},
    {"cPickle", "", "pickle", ""},
    {"_pickle", "", "pickle", ""},
    {"Queue", "", "queue", ""},
    {"commands", "", "subprocess", ""},
    {"ConfigParser", "", "configparser", ""},
    {"SocketServer", "", "socketserver", ""},
    {"UserDict", "", "collections", ""},
    {"UserList", "", "collections", ""},
    {"UserString", "", "collections", ""},
    {"StringIO", "StringIO", "io", "StringIO"},
    {"cStringIO", "StringIO", "io", "StringIO"},
    {"pathlib._local", "", "pathlib", ""},
    {"torch.tensor", "_rebuild_from_type", "torch._tensor", "_rebuild_from_type"},
    {"torch.tensor", "_rebuild_from_type_v2", "torch._tensor", "_rebuild_from_type_v2"},
    {"torch._utils", "_rebuild_xla_tensor", "torch._utils", "_rebuild_device_tensor_from_numpy"},
    {"torch.storage", "_UntypedStorage", "torch.storage", "UntypedStorage"},
    {"torch.storage", "_TypedStorage", "torch.storage", "TypedStorage"},
    {"torch", "UntypedStorage", "torch.storage", "UntypedStorage"},
    {"torch", "TypedStorage", "torch.storage", "TypedStorage"},
    {"torch.nn", "Parameter", "torch.nn.parameter", "Parameter"},
};

// Packages that were renamed as a whole.
inline constexpr struct {
    std::string_view from{};
    std::string_view to{};
} renamed_packages[]{
    {"numpy.core", "numpy._core"},
    {"pytorch_lightning", "lightning.pytorch"},
    {"torch.distributed._tensor", "torch.distributed.tensor"},
};

/// The present spelling of a global: "numpy._core" for "numpy.core". May borrow from its arguments.
class canonical_name {
  public:
    canonical_name(std::string_view module, std::string_view name);
    canonical_name(const canonical_name&) = delete;
    canonical_name& operator=(const canonical_name&) = delete;

    [[nodiscard]] std::string_view module() const noexcept { return module_; }
    [[nodiscard]] std::string_view name() const noexcept { return name_; }

  private:
    std::string joined_{};
    std::string_view module_;
    std::string_view name_;
};

// Names that a checkpoint has only as an attack: modules that give access to the system or the interpreter, functions
// that find any object by a string, and functions of other packages through which code can be called. An entry matches
// the leading dotted segments of module and name together: "os" matches "os.path"; "torch.serialization.os" has an
// entry of its own. `getattr` is not in the list: harmless files have it, and nothing resolves it.
inline constexpr std::string_view attack_names[]{
    "os",
    "posix",
    "nt",
    "ntpath",
    "posixpath",
    "sys",
    "subprocess",
    "_posixsubprocess",
    "pty",
    "socket",
    "_socket",
    "ssl",
    "runpy",
    "ctypes",
    "_ctypes",
    "importlib",
    "_imp",
    "imp",
    "zipimport",
    "pkgutil",
    "shutil",
    "tempfile",
    "glob",
    "marshal",
    "code.interact",
    "code.InteractiveInterpreter",
    "code.InteractiveConsole",
    "codeop",
    "pdb",
    "bdb",
    "profile.run",
    "profile.runctx",
    "profile.Profile",
    "cProfile",
    "trace.Trace",
    "timeit",
    "doctest",
    "_thread",
    "asyncio",
    "signal.pthread_kill",
    "platform.popen",
    "webbrowser",
    "antigravity",
    "http.client",
    "http.server",
    "http.cookiejar",
    "urllib",
    "urllib2",
    "httplib",
    "ftplib",
    "smtplib",
    "telnetlib",
    "poplib",
    "imaplib",
    "nntplib",
    "xmlrpc",
    "socketserver",
    "requests",
    "aiohttp",
    "pip",
    "ensurepip",
    "venv",
    "setuptools",
    "distutils",
    "site.main",
    "sysconfig",
    "inspect",
    "gc",
    "types.CodeType",
    "types.FunctionType",
    "pickle",
    "cloudpickle",
    "dill",
    "joblib",
    "shelve",
    "sqlite3",
    "_sqlite3",
    "linecache",
    "fileinput",
    "commands",
    "popen2",
    "idlelib",
    "lib2to3",
    "test.support",
    "mailcap",
    "cgi",
    "builtins.eval",
    "builtins.exec",
    "builtins.execfile",
    "builtins.compile",
    "builtins.__import__",
    "builtins.open",
    "builtins.input",
    "builtins.breakpoint",
    "builtins.globals",
    "builtins.locals",
    "builtins.vars",
    "builtins.setattr",
    "builtins.delattr",
    "builtins.file",
    "builtins.reload",
    "builtins.apply",
    "builtins.memoryview",
    "builtins.classmethod",
    "io.open",
    "io.FileIO",
    "io.open_code",
    "_io.open",
    "_io.FileIO",
    "_io.open_code",
    "codecs.open",
    "operator.attrgetter",
    "operator.methodcaller",
    "operator.itemgetter",
    "_operator.attrgetter",
    "_operator.methodcaller",
    "_operator.itemgetter",
    "operator.call",
    "_operator.call",
    "functools.reduce",
    "_functools.reduce",
    "logging.config",
    "uuid._get_command_stdout",
    "uuid._run_command",
    "typing._eval_type",
    "dataclasses._create_fn",
    "numpy._core._ufunc_reconstruct",
    "numpy.testing._private.utils.runstring",
    "numpy.testing.runstring",
    "numpy.load",
    "numpy.loadtxt",
    "numpy.fromfile",
    "numpy.memmap",
    "numpy.f2py",
    "numpy.distutils",
    "numpy.testing",
    "numpy.ctypeslib",
    "torch.load",
    "torch.save",
    "torch.hub",
    "torch.jit.load",
    "torch.serialization.load",
    "torch.serialization.os",
    "torch.serialization.sys",
    "torch.serialization.shutil",
    "torch.serialization.pickle",
    "torch.storage.pickle",
    "torch.storage.io",
    "torch.fx.graph_module._exec_with_source",
    "torch.jit.unsupported_tensor_ops.execWrapper",
    "torch._inductor.codecache.compile_file",
    "torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression",
    "torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_symexpr",
    "torch.utils._config_module.ConfigModule.load_config",
    "torch.utils._config_module.load_config",
    "torch.utils.bottleneck",
    "torch.utils.collect_env.run",
    "torch.utils.cpp_extension",
    "torch.utils.data.datapipes.utils.decoder.basichandlers",
    "torch._dynamo.guards.GuardBuilder.get",
    "torch.distributed.rpc",
    "torch.distributed.elastic",
    "torch.distributed.run",
    "torch.distributed.launch",
    "torch.multiprocessing",
    "torch.package",
    "torch._utils_internal",
    "torch.testing",
    "tensorflow.io",
    "keras.utils.get_file",
    "pandas.read_pickle",
    "pandas.io",
    "pydoc.locate",
    "pydoc.pipepager",
    "pydoc.safeimport",
};

// Attributes through which a dotted name leads out of its module: "torch", "nn.os.system".
inline constexpr std::string_view ways_out[]{
    "os",
    "sys",
    "subprocess",
    "builtins",
    "__builtins__",
    "__globals__",
    "__class__",
    "__subclasses__",
    "__reduce__",
    "__reduce_ex__",
    "__import__",
    "__getattribute__",
    "__init_subclass__",
    "__code__",
    "__dict__",
};

/// Whether `prefix` is `module.name` or leading dotted segments of it.
[[nodiscard]] constexpr bool leads(std::string_view prefix, std::string_view module, std::string_view name) noexcept {
    if (prefix.size() <= module.size())
        return module.starts_with(prefix) && (prefix.size() == module.size() || module[prefix.size()] == '.');
    if (!prefix.starts_with(module) || prefix[module.size()] != '.') return false;
    const std::string_view rest = prefix.substr(module.size() + 1);
    return name.starts_with(rest) && (rest.size() == name.size() || name[rest.size()] == '.');
}

/// Whether a name, in canonical spelling, can only be an attack.
[[nodiscard]] constexpr bool is_attack(std::string_view module, std::string_view name) noexcept {
    for (const std::string_view a : attack_names)
        if (leads(a, module, name)) return true;
    // A dotted name with an attribute that leads out of the module.
    for (std::size_t at = 0; at < name.size();) {
        const std::size_t dot = name.find('.', at);
        const std::string_view segment = name.substr(at, dot == std::string_view::npos ? dot : dot - at);
        for (const std::string_view way : ways_out)
            if (segment == way) return true;
        if (dot == std::string_view::npos) break;
        at = dot + 1;
    }
    return false;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/pickle/impl/names.ipp>
#endif
