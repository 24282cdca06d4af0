// Recipe: everything that determines a training, as one JSON file (docs/training.md explains every key).
#pragma once
#include <filesystem>
#include <string>

#include "app/engine/clipping.h"
#include "app/engine/distillation.h"
#include "app/engine/ema.h"
#include "app/engine/mixing.h"
#include "app/engine/optimizer.h"
#include "app/engine/peft.h"
#include "app/engine/schedule.h"
#include "app/engine/tokenizer_choice.h"
#include "models/model.h"

namespace zoo::app {

// Ends a training whose validation figure does not get better.
struct EarlyStopping {
  int64_t patience = 0;    // measurements without a better figure; 0: never
  double min_delta = 0.0;  // what counts as better
};

// When RUN/checkpoints/ gets a new entry, besides on Ctrl-C and SIGTERM. 0: never for this reason.
struct Saving {
  int64_t every_steps = 0, every_epochs = 1;
  double every_minutes = 10.0;
  int64_t keep = 1;        // the newest so many stay; 0: all
  bool keep_after = false; // also when the training is finished
};

// Which checkpoint is the best: by which figure of the measurements on the validation examples.
struct BestChoice {
  std::string metric;  // empty: the task's primary one
  std::string mode;    // max, min; empty: as figures of this name are read
};

struct Recipe {
  std::string description;            // for people
  std::string model, task, data;      // what to train (folder or name:variant), for what, on what
  std::string train_split = "train";
  std::string eval_data, eval_split;  // measured once at the end; empty: `data` and its natural split (test)
  std::string validation_split;       // measured during training, and chooses the checkpoint; empty: none
  double validation_share = 0.0;      // ... or so much of the training examples, drawn by the seed
  Json config = Json::object();       // put over the network's config
  Json preprocess = Json::object();   // put over preprocessor_config.json
  Json augment = Json::object(), options = Json::object();  // the task's; keys of "data" beside "path" are options too
  Json eval_options = Json::object(); // put over `options` for the measurement at the end
  TokenizerChoice tokenizer;          // of a network with fresh weights
  bool reinit_head = false;           // a checkpoint's head of another class count starts afresh
  int64_t epochs = 10, batch_size = 64, max_steps = 0;  // max_steps 0: epochs decide
  int64_t accumulate = 1;             // batches whose gradients make one step
  double max_minutes = 0.0;           // 0: no limit; the schedule does not know of it
  PeftOptions peft;                   // an adapter is trained in place of the whole network
  OptimizerOptions optimizer;
  Schedule schedule;
  double clip_norm = 0.0, label_smoothing = 0.0;  // clip_norm: the short way to write clip.norm; always equal to it
  ClipOptions clip;
  AverageOptions ema;
  std::string precision = "float32";  // bf16, fp16 (precision.h)
  bool shard_optimizer = false;       // several processes: each keeps a share of the optimizer's state (sharded_optimizer.h)
  bool recompute = false;             // trade time for memory (recompute.h)
  MixingOptions mixing;
  DistillationOptions distillation;
  bool group_by_length = false;       // batches of examples that are about equally long
  int64_t eval_every = 1;             // epochs
  BestChoice best;
  EarlyStopping early_stopping;
  Saving checkpoint;
  int64_t workers = 1;                // loader threads
  bool graphs = true;                 // on a GPU: steps are recorded (graphed_training.h)
  uint64_t seed = 0;
};

// Strict: an unknown key, a wrong type or a value out of range throws UsageError that names the nearest keys.
Recipe read_recipe(const Json& json);
Json write_recipe(const Recipe& recipe);  // complete, every default spelled out

Json load_recipe_file(const std::filesystem::path& file);
// "optimizer.lr=1e-3": sets a key by its dotted path; the value is JSON, else taken as text. Throws UsageError.
void set_in_recipe(Json& recipe, const std::string& assignment);

}  // namespace zoo::app
