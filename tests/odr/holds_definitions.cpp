// The second translation unit of a program in compiled mode that has no library: it holds all definitions.
#include <ckpt/impl/src.hpp>

#include "other.cpp"
