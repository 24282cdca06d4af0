#include "models/model.h"

#include "models/blocks/linear.h"

namespace zoo {

void Model::init_modules() {
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* layer = dynamic_cast<Module*>(module.get())) layer->init();
  }
}

void Model::prepare_for_inference() {
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* linear = dynamic_cast<LinearImpl*>(module.get())) linear->pack();
  }
}

}  // namespace zoo
