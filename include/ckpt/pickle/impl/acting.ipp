// ckpt/pickle/impl/acting.ipp: the definitions of acting.hpp. tests/frameworks/stdlib_actions.py writes the table.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/pickle/acting.hpp>

#include <algorithm>
#include <iterator>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

// clang-format off
inline constexpr std::string_view acting_classes[]{
    "AbstractReducer", "AcquirerProxy", "Action", "Arena", "ArgumentDefaultsHelpFormatter", "ArgumentParser",
    "ArrayProxy", "AsyncMock", "AsyncMockMixin", "BCPPCompiler", "BZ2File", "Babyl", "Barrier", "BarrierProxy",
    "BaseEventLoop", "BaseListProxy", "BasePoolProxy", "BaseProactorEventLoop", "BaseProxy", "BaseRotatingHandler",
    "BaseSelectorEventLoop", "Blob", "BooleanOptionalAction", "BoundedSemaphore", "Bytecode", "BytesFeedParser",
    "CCompiler", "CDLL", "CFuncPtr", "Certificate", "CodeType", "CommandCompiler", "Compile", "CompleteDirs",
    "Condition", "ConditionProxy", "ConfigParser", "Connection", "CoverageResults", "Cursor", "CygwinCCompiler",
    "DOMEventStream", "DbfilenameShelf", "DebuggingServer", "DictProxy", "DistributionMetadata", "DocXMLRPCServer",
    "DupFd", "Event", "EventProxy", "FTP", "FancyURLopener", "FastLookup", "FeedParser", "FieldStorage", "FileHandler",
    "FileIO", "FileType", "ForkingTCPServer", "ForkingUDPServer", "ForwardRef", "FrameSummary", "FunctionType",
    "GzipDecodedResponse", "GzipFile", "HTTPConnection", "HTTPSConnection", "HTTPServer", "HelpFormatter", "Helper",
    "Hook", "IMAP4", "InputWrapper", "InteractiveConsole", "InteractiveInterpreter", "IteratorProxy", "JoinableQueue",
    "LMTP", "LZMAFile", "LambdaType", "ListProxy", "Listener", "Lock", "MH", "MMDF", "MSVCCompiler", "MagicMock",
    "Maildir", "MemoryBIO", "MetavarTypeHelpFormatter", "MimeTypes", "Mingw32CCompiler", "Mock",
    "MultiPathXMLRPCServer", "NNTP", "NamedTupleMeta", "NamespaceProxy", "NonCallableMagicMock", "NonCallableMock",
    "OptionParser", "POP3", "ParamSpec", "Path", "Pdb", "PoolProxy", "Popen", "PrepareProtocol", "ProcessPoolExecutor",
    "PropertyMock", "ProxyHandler", "PureProxy", "Purpose", "PyDLL", "PyZipFile", "Queue", "RLock", "RawConfigParser",
    "RawDescriptionHelpFormatter", "RawTextHelpFormatter", "RotatingFileHandler", "Row", "SMTP", "SMTPChannel",
    "SMTPServer", "SSLContext", "SSLProtocol", "SSLSession", "SSLSocket", "SafeConfigParser", "SelectorEventLoop",
    "SemLock", "Semaphore", "ShareableList", "SharedMemory", "SharedMemoryServer", "SimpleQueue", "SimpleXMLRPCServer",
    "SocketListener", "SocketType", "Stats", "Synchronized", "SynchronizedArray", "SynchronizedBase",
    "SynchronizedString", "SysLogHandler", "TCPServer", "TarFile", "Telnet", "TemporaryDirectory", "TestProgram",
    "TextFile", "ThreadingHTTPServer", "ThreadingTCPServer", "ThreadingUDPServer", "ThreadingUnixDatagramServer",
    "ThreadingUnixStreamServer", "TimedRotatingFileHandler", "Timer", "Trace", "TypeVar", "UDPServer", "URLopener",
    "UnixCCompiler", "UnixDatagramServer", "UnixStreamServer", "Unpickler", "ValueProxy", "WSGIServer",
    "WatchedFileHandler", "XmlListener", "ZipFile", "ZoneInfo",
};
// clang-format on

CKPT_DETAIL_DEF bool names_acting_class(std::string_view name) noexcept {
    return std::binary_search(std::begin(acting_classes), std::end(acting_classes), name);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
