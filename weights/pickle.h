// Files of torch.save (.bin, .pth, .pt), read without running anything.
//
// A pickle is a program for a small stack machine whose GLOBAL and REDUCE instructions import and call any
// Python function. This reader has no way to call anything: it knows the dozen constructors that state dicts
// consist of by name, builds plain data for them, and refuses a file that calls another.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "weights/byte_reader.h"
#include "weights/mapped_tensor.h"

namespace zoo::weights {

// Reads the zip format (torch >= 1.6) and the older one of pickles followed by raw storages. The state dict
// is the top dict, or where that holds no tensors the one under state_dict, model, model_state_dict,
// state_dict_ema, module or net. Entries that are not tensors are skipped. Throws std::runtime_error that
// names the file.
TensorFile read_torch_file(const std::shared_ptr<const MappedFile>& file);

// ---- the pickle machine, apart so that tests can feed it ----

struct PickledStorage {
  std::string key;
  at::ScalarType dtype = at::kByte;
  uint64_t elements = 0;
  uint64_t view_offset = 0;  // in elements; old files may save a part of another storage
};

struct PickledTensor {
  PickledStorage storage;
  at::ScalarType dtype = at::kFloat;  // differs from the storage's when that is untyped
  uint64_t offset = 0;                // in elements of dtype
  std::vector<int64_t> shape, strides;
};

// One value of a pickle. Text points into the mapped file; dicts are a list of key, value, key, value ...
struct PickleValue {
  enum class Kind { none, boolean, integer, real, text, bytes, tuple, list, dict, set,
                    global, storage, tensor, object };
  Kind kind = Kind::none;
  int64_t integer = 0;       // of boolean and integer; index into storages or tensors
  std::string_view text;     // of text and bytes; the name of a global
  std::string_view module;   // of a global
  std::vector<PickleValue*> items;

  const PickleValue* find(std::string_view key) const;  // of a dict; nullptr when there is none
};

// Runs pickles one after the other from a range of a file. All values live in one arena, so that a hostile
// nesting costs no recursion, neither here nor when they are freed.
class Unpickler {
 public:
  Unpickler(const MappedFile& file, uint64_t begin, uint64_t end) : reader_(file, begin, end) {}
  const PickleValue& run();  // the next pickle, up to its STOP
  uint64_t position() const { return reader_.position(); }
  const std::vector<PickledTensor>& tensors() const { return tensors_; }
  const std::map<std::string, PickledStorage, std::less<>>& storages() const { return storages_by_key_; }

 private:
  using Kind = PickleValue::Kind;
  using Items = std::vector<PickleValue*>;

  bool step(unsigned char opcode);  // false at STOP
  bool step_number(unsigned char opcode);
  bool step_text(unsigned char opcode);
  bool step_container(unsigned char opcode);
  bool step_memo(unsigned char opcode);
  bool step_object(unsigned char opcode);

  PickleValue* make(Kind kind);
  void push(PickleValue* value);
  PickleValue* pop();
  PickleValue* top();
  Items pop_to_mark();
  void push_items(Kind kind, const Items& items);
  void push_integer(Kind kind, int64_t value);
  void push_text(Kind kind, uint64_t bytes);
  void push_global(std::string_view module, std::string_view name);
  void push_long(uint64_t bytes);
  void memoize(uint64_t index);
  void recall(uint64_t index);
  void add_items(PickleValue* container, const Items& items);
  void append(const Items& items);
  void set_items(const Items& items);

  PickleValue* call(const PickleValue& callable, const PickleValue& arguments);
  PickleValue* make_dict(const PickleValue& arguments);
  PickleValue* rebuild_tensor(const PickleValue& arguments, bool has_dtype);
  PickleValue* load_storage(const PickleValue& id);
  void build();

  ByteReader reader_;
  std::deque<PickleValue> arena_;
  Items stack_;
  std::vector<size_t> marks_;
  std::map<uint64_t, PickleValue*> memo_;
  std::vector<PickledStorage> storages_;
  std::vector<PickledTensor> tensors_;
  std::map<std::string, PickledStorage, std::less<>> storages_by_key_;
  uint64_t steps_ = 0, items_ = 0;
};

}  // namespace zoo::weights
