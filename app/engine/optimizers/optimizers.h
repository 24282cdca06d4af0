// The optimizers, one per file; optimizer.cpp has their list.
#pragma once
#include <memory>
#include <vector>

#include "app/engine/optimizer.h"

namespace zoo::app {

std::unique_ptr<Optimizer> make_adamw(const OptimizerOptions& options, std::vector<ParameterGroup> groups);
std::unique_ptr<Optimizer> make_adam(const OptimizerOptions& options, std::vector<ParameterGroup> groups);
std::unique_ptr<Optimizer> make_sgd(const OptimizerOptions& options, std::vector<ParameterGroup> groups);
std::unique_ptr<Optimizer> make_adafactor(const OptimizerOptions& options, std::vector<ParameterGroup> groups);
std::unique_ptr<Optimizer> make_lion(const OptimizerOptions& options, std::vector<ParameterGroup> groups);

}  // namespace zoo::app
