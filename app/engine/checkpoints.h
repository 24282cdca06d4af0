// Checkpoints of a running training: RUN/checkpoints/step-00000120/ is a network's folder like any other, plus
// training_state.{json,safetensors} with all that the run needs to go on as if it had never stopped.
#pragma once
#include <filesystem>
#include <optional>
#include <vector>

#include "app/bundle.h"

namespace zoo::app {

struct TrainingState {
  Json values = Json::object();  // counters, the best figure, seconds ...
  Tensors tensors;               // of the optimizer, random generators ...
};

// Writes a folder under a temporary name, on the disk when it is renamed. Then only the `keep` newest stay (0: all).
void save_checkpoint(const std::filesystem::path& run, int64_t step, const Bundle& bundle, const TrainingState& state, int64_t keep);

// Complete ones, oldest first.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& run);
// Also what a save that was cut off has left.
void remove_checkpoints(const std::filesystem::path& run);

// The newest that can be read, after removing what a cut-off save left. Damaged ones are passed over with a warning.
struct Resumable {
  std::filesystem::path folder;
  TrainingState state;
};
std::optional<Resumable> newest_checkpoint(const std::filesystem::path& run);

// Copies the weights of a checkpoint's folder, or those of its adapter, into the network, which has the same keys and shapes.
void restore_network(Bundle& bundle, const std::filesystem::path& checkpoint);

}  // namespace zoo::app
