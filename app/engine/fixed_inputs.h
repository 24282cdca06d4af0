// Named tensors at fixed places, where recordings (cuda_graph.h) read and write.
#pragma once
#include <string>

#include "models/model.h"

namespace zoo::app {

bool on_gpu(const Tensors& tensors);  // all of them, and at least one

// Names, types, shapes and order of memory: what a recording depends on.
std::string layout_of(const Tensors& tensors);

Tensors copies(const Tensors& tensors);  // undefined ones stay undefined

// Into tensors of the same names and shapes.
void copy_into(Tensors& fixed, const Tensors& values);

}  // namespace zoo::app
