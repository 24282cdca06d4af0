// Tensors as bytes on the way between two processes of the same program: header length, JSON header, dense data.
#pragma once
#include <string>

#include "models/model.h"

namespace zoo::app {

std::string tensors_to_bytes(const Tensors& tensors);
// On the CPU. The bytes come from tensors_to_bytes in another rank: std::runtime_error when they are cut short.
Tensors tensors_from_bytes(const std::string& bytes);

}  // namespace zoo::app
