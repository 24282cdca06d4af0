#include "weights/pickle.h"

#include <array>
#include <set>
#include <stdexcept>
#include <utility>

namespace zoo::weights {

namespace pickle_detail {

// A state dict of 100,000 tensors takes about 3 million steps and 2 million values.
constexpr uint64_t kMaxSteps = 16'000'000, kMaxValues = 4'000'000;
constexpr uint64_t kMaxItems = 32'000'000;  // in all containers: a memo lets two bytes copy a long list again
constexpr uint64_t kMaxText = 16u << 20, kMaxStorageKey = 64;

struct TypeName {
  std::string_view name;
  at::ScalarType type;
};

constexpr std::array kStorageTypes{
    TypeName{"FloatStorage", at::kFloat},    TypeName{"DoubleStorage", at::kDouble},
    TypeName{"HalfStorage", at::kHalf},      TypeName{"BFloat16Storage", at::kBFloat16},
    TypeName{"LongStorage", at::kLong},      TypeName{"IntStorage", at::kInt},
    TypeName{"ShortStorage", at::kShort},    TypeName{"CharStorage", at::kChar},
    TypeName{"ByteStorage", at::kByte},      TypeName{"BoolStorage", at::kBool},
    TypeName{"UntypedStorage", at::kByte},   TypeName{"ComplexFloatStorage", at::kComplexFloat},
    TypeName{"ComplexDoubleStorage", at::kComplexDouble},
};

constexpr std::array kTorchTypes{
    TypeName{"float32", at::kFloat},       TypeName{"float64", at::kDouble},
    TypeName{"float16", at::kHalf},        TypeName{"bfloat16", at::kBFloat16},
    TypeName{"int64", at::kLong},          TypeName{"int32", at::kInt},
    TypeName{"int16", at::kShort},         TypeName{"int8", at::kChar},
    TypeName{"uint8", at::kByte},          TypeName{"bool", at::kBool},
    TypeName{"uint16", at::kUInt16},       TypeName{"uint32", at::kUInt32},
    TypeName{"uint64", at::kUInt64},       TypeName{"complex64", at::kComplexFloat},
    TypeName{"complex128", at::kComplexDouble},
    TypeName{"float8_e4m3fn", at::kFloat8_e4m3fn}, TypeName{"float8_e5m2", at::kFloat8_e5m2},
    TypeName{"float8_e4m3fnuz", at::kFloat8_e4m3fnuz}, TypeName{"float8_e5m2fnuz", at::kFloat8_e5m2fnuz},
    TypeName{"float8_e8m0fnu", at::kFloat8_e8m0fnu},
};

// What trainers keep beside the weights. Read as inert data: nothing looks inside.
const std::set<std::string, std::less<>> kInertObjects{
    "argparse.Namespace",      "types.SimpleNamespace",  "torch.device",
    "builtins.set",            "__builtin__.set",        "builtins.frozenset",
    "__builtin__.frozenset",   "builtins.complex",       "__builtin__.complex",
    "builtins.slice",          "__builtin__.slice",      "builtins.bytearray",
    "__builtin__.bytearray",   "_codecs.encode",         "pathlib.Path",
    "pathlib.PosixPath",       "pathlib.WindowsPath",    "pathlib.PurePosixPath",
    "pathlib._local.PosixPath", "pathlib._local.WindowsPath",
    "datetime.datetime",       "datetime.date",          "datetime.timedelta",
    "numpy.dtype",             "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
};

const std::set<std::string, std::less<>> kDicts{
    "collections.OrderedDict", "collections.defaultdict", "collections.Counter",
    "builtins.dict",           "__builtin__.dict",
};

template <size_t Count>
const TypeName* find_type(const std::array<TypeName, Count>& types, std::string_view name) {
  for (const TypeName& type : types) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

std::string printable(std::string_view text) {
  std::string result;
  for (char c : text.substr(0, 120)) result += c >= ' ' && c < 127 ? c : '?';
  return result;
}

std::string full_name(const PickleValue& global) {
  return printable(global.module) + "." + printable(global.text);
}

[[noreturn]] void refuse_code(const std::string& what) {
  throw std::runtime_error(
      "the pickle names code that loading would call, " + what +
      "; zoo never runs code from a file, so nothing was executed; re-save as safetensors, or as a "
      "plain state dict with torch.save(model.state_dict(), ...)");
}

[[noreturn]] void damaged(const std::string& what) { throw std::runtime_error("damaged pickle: " + what); }

const PickleValue& argument(const PickleValue& arguments, size_t index, PickleValue::Kind kind,
                            const char* what) {
  if (index >= arguments.items.size() || arguments.items[index]->kind != kind) {
    damaged(std::string(what) + " has wrong arguments");
  }
  return *arguments.items[index];
}

uint64_t count_argument(const PickleValue& arguments, size_t index, const char* what) {
  const int64_t value = argument(arguments, index, PickleValue::Kind::integer, what).integer;
  if (value < 0) damaged(std::string(what) + " has the negative number " + std::to_string(value));
  return static_cast<uint64_t>(value);
}

std::vector<int64_t> sizes_argument(const PickleValue& arguments, size_t index, const char* what) {
  std::vector<int64_t> sizes;
  const PickleValue& tuple = argument(arguments, index, PickleValue::Kind::tuple, what);
  if (tuple.items.size() > 64) damaged("a tensor of more than 64 dimensions");
  for (size_t i = 0; i < tuple.items.size(); ++i)
    sizes.push_back(static_cast<int64_t>(count_argument(tuple, i, what)));
  return sizes;
}

}  // namespace pickle_detail

const PickleValue* PickleValue::find(std::string_view key) const {
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    if (items[i]->kind == Kind::text && items[i]->text == key) return items[i + 1];
  }
  return nullptr;
}

const PickleValue& Unpickler::run() {
  stack_.clear();
  marks_.clear();
  memo_.clear();
  while (step(reader_.number<unsigned char>())) {
    if (++steps_ > pickle_detail::kMaxSteps)
      throw std::runtime_error("the pickle is longer than any state dict");
  }
  return *pop();
}

// The opcode letters are those of Python's pickle module, protocols 2 to 5.
bool Unpickler::step(unsigned char opcode) {
  switch (opcode) {
    case '.': return false;                               // STOP
    case 0x80: reader_.take(1); return true;              // PROTO
    case 0x95: reader_.take(8); return true;              // FRAME
    case 'N': push(make(Kind::none)); return true;
    case '0': pop(); return true;
    case '2': push(top()); return true;                   // DUP
    case '(': marks_.push_back(stack_.size()); return true;
    case '1': pop_to_mark(); return true;                 // POP_MARK
    default: break;
  }
  if (step_number(opcode) || step_text(opcode) || step_container(opcode) || step_memo(opcode) ||
      step_object(opcode)) {
    return true;
  }
  pickle_detail::damaged("instruction " + std::to_string(opcode) + " at byte " +
                         std::to_string(reader_.position() - 1) + " is none that torch.save writes");
}

bool Unpickler::step_number(unsigned char opcode) {
  switch (opcode) {
    case 0x88: push_integer(Kind::boolean, 1); return true;
    case 0x89: push_integer(Kind::boolean, 0); return true;
    case 'J': push_integer(Kind::integer, reader_.number<int32_t>()); return true;
    case 'K': push_integer(Kind::integer, reader_.number<uint8_t>()); return true;
    case 'M': push_integer(Kind::integer, reader_.number<uint16_t>()); return true;
    case 0x8a: push_long(reader_.number<uint8_t>()); return true;
    case 0x8b: push_long(reader_.number<uint32_t>()); return true;
    case 'G':
      reader_.take(8);
      push(make(Kind::real));
      return true;  // learning rates and the like: the value is not used
    default: return false;
  }
}

bool Unpickler::step_text(unsigned char opcode) {
  switch (opcode) {
    case 0x8c: push_text(Kind::text, reader_.number<uint8_t>()); return true;
    case 'X': push_text(Kind::text, reader_.number<uint32_t>()); return true;
    case 0x8d: push_text(Kind::text, reader_.number<uint64_t>()); return true;
    case 'U': push_text(Kind::text, reader_.number<uint8_t>()); return true;   // str of Python 2
    case 'T': push_text(Kind::text, reader_.number<uint32_t>()); return true;
    case 'C': push_text(Kind::bytes, reader_.number<uint8_t>()); return true;
    case 'B': push_text(Kind::bytes, reader_.number<uint32_t>()); return true;
    case 0x8e:
    case 0x96: push_text(Kind::bytes, reader_.number<uint64_t>()); return true;
    default: return false;
  }
}

bool Unpickler::step_container(unsigned char opcode) {
  switch (opcode) {
    case ')': push(make(Kind::tuple)); return true;
    case ']': push(make(Kind::list)); return true;
    case '}': push(make(Kind::dict)); return true;
    case 0x8f: push(make(Kind::set)); return true;
    case 't': push_items(Kind::tuple, pop_to_mark()); return true;
    case 'l': push_items(Kind::list, pop_to_mark()); return true;
    case 0x91: push_items(Kind::set, pop_to_mark()); return true;
    case 'd': { Items items = pop_to_mark(); push(make(Kind::dict)); set_items(items); return true; }
    case 0x85: push_items(Kind::tuple, {pop()}); return true;
    case 0x86: { auto* b = pop(); auto* a = pop(); push_items(Kind::tuple, {a, b}); return true; }
    case 0x87: {
      auto* c = pop();
      auto* b = pop();
      auto* a = pop();
      push_items(Kind::tuple, {a, b, c});
      return true;
    }
    case 'a': append({pop()}); return true;
    case 'e':
    case 0x90: append(pop_to_mark()); return true;
    case 's': { auto* value = pop(); auto* key = pop(); set_items({key, value}); return true; }
    case 'u': set_items(pop_to_mark()); return true;
    default: return false;
  }
}

bool Unpickler::step_memo(unsigned char opcode) {
  switch (opcode) {
    case 'q': memoize(reader_.number<uint8_t>()); return true;
    case 'r': memoize(reader_.number<uint32_t>()); return true;
    case 0x94: memoize(memo_.size()); return true;
    case 'h': recall(reader_.number<uint8_t>()); return true;
    case 'j': recall(reader_.number<uint32_t>()); return true;
    default: return false;
  }
}

bool Unpickler::step_object(unsigned char opcode) {
  switch (opcode) {
    case 'c': { auto module = reader_.line(); push_global(module, reader_.line()); return true; }
    case 0x93: {
      const PickleValue *name = pop(), *module = pop();
      if (name->kind != Kind::text || module->kind != Kind::text)
        pickle_detail::damaged("a global without a name");
      push_global(module->text, name->text);
      return true;
    }
    case 'R':
    case 0x81: {
      auto* arguments = pop();
      auto* callable = pop();
      push(call(*callable, *arguments));
      return true;
    }
    case 0x92: {
      pop();
      auto* arguments = pop();
      auto* callable = pop();
      push(call(*callable, *arguments));
      return true;
    }
    case 'b': build(); return true;
    case 'Q': push(load_storage(*pop())); return true;
    case 'i': {  // INST: module and class on two lines, called at once
      const std::string_view module = reader_.line(), name = reader_.line();
      pickle_detail::refuse_code(pickle_detail::printable(module) + "." + pickle_detail::printable(name));
    }
    case 'o': {  // OBJ
      const Items items = pop_to_mark();
      pickle_detail::refuse_code(items.empty() ? "an unnamed class" : pickle_detail::full_name(*items[0]));
    }
    default: return false;
  }
}

PickleValue* Unpickler::make(Kind kind) {
  if (arena_.size() >= pickle_detail::kMaxValues)
    throw std::runtime_error("the pickle holds more values than any state dict");
  arena_.emplace_back();
  arena_.back().kind = kind;
  return &arena_.back();
}

void Unpickler::push(PickleValue* value) { stack_.push_back(value); }

PickleValue* Unpickler::top() {
  const size_t floor = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() <= floor) pickle_detail::damaged("an instruction finds the stack empty");
  return stack_.back();
}

PickleValue* Unpickler::pop() {
  PickleValue* value = top();
  stack_.pop_back();
  return value;
}

Unpickler::Items Unpickler::pop_to_mark() {
  if (marks_.empty()) pickle_detail::damaged("a list has no beginning");
  const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  Items items(first, stack_.end());
  stack_.erase(first, stack_.end());
  marks_.pop_back();
  return items;
}

void Unpickler::add_items(PickleValue* container, const Items& items) {
  items_ += items.size();
  if (items_ > pickle_detail::kMaxItems)
    throw std::runtime_error("the pickle holds more items than any state dict");
  container->items.insert(container->items.end(), items.begin(), items.end());
}

void Unpickler::push_items(Kind kind, const Items& items) {
  PickleValue* value = make(kind);
  add_items(value, items);
  push(value);
}

void Unpickler::push_integer(Kind kind, int64_t number) {
  PickleValue* value = make(kind);
  value->integer = number;
  push(value);
}

void Unpickler::push_text(Kind kind, uint64_t bytes) {
  if (bytes > pickle_detail::kMaxText)
    pickle_detail::damaged("a text of " + std::to_string(bytes) + " bytes");
  PickleValue* value = make(kind);
  value->text = reader_.take(bytes);
  push(value);
}

// Two's complement, least significant byte first. What does not fit 64 bits (the magic number of old files)
// stays bytes.
void Unpickler::push_long(uint64_t bytes) {
  if (bytes > 8) return push_text(Kind::bytes, bytes);
  const std::string_view raw = reader_.take(bytes);
  uint64_t number = 0;
  for (size_t i = 0; i < raw.size(); ++i) number |= uint64_t{static_cast<unsigned char>(raw[i])} << (8 * i);
  const bool negative = !raw.empty() && raw.back() < 0 && bytes < 8;
  if (negative) number |= ~uint64_t{0} << (8 * bytes);
  push_integer(Kind::integer, static_cast<int64_t>(number));
}

// Naming something does no harm; only a call is refused.
void Unpickler::push_global(std::string_view module, std::string_view name) {
  PickleValue* value = make(Kind::global);
  value->module = module;
  value->text = name;
  push(value);
}

void Unpickler::memoize(uint64_t index) { memo_[index] = top(); }

void Unpickler::recall(uint64_t index) {
  const auto found = memo_.find(index);
  if (found == memo_.end())
    pickle_detail::damaged("value " + std::to_string(index) + " is used before it is stored");
  push(found->second);
}

void Unpickler::append(const Items& items) {
  PickleValue* list = top();
  if (list->kind != Kind::list && list->kind != Kind::set && list->kind != Kind::object) {
    pickle_detail::damaged("values are appended to what is no list");
  }
  add_items(list, items);
}

void Unpickler::set_items(const Items& items) {
  PickleValue* dict = top();
  if (dict->kind != Kind::dict && dict->kind != Kind::object)
    pickle_detail::damaged("entries are added to what is no dict");
  if (items.size() % 2 != 0) pickle_detail::damaged("a dict entry has no value");
  add_items(dict, items);
}

PickleValue* Unpickler::call(const PickleValue& callable, const PickleValue& arguments) {
  if (callable.kind != Kind::global) pickle_detail::refuse_code("the result of another call");
  if (arguments.kind != Kind::tuple) pickle_detail::damaged("the arguments of a call are no tuple");
  const std::string name = pickle_detail::full_name(callable);
  if (pickle_detail::kDicts.count(name)) return make_dict(arguments);
  if (name == "torch._utils._rebuild_tensor_v2" || name == "torch._utils._rebuild_tensor")
    return rebuild_tensor(arguments, false);
  if (name == "torch._utils._rebuild_tensor_v3") return rebuild_tensor(arguments, true);
  if (name == "torch._utils._rebuild_parameter") {
    pickle_detail::argument(arguments, 0, Kind::tensor, "_rebuild_parameter");
    return arguments.items[0];
  }
  if (name == "torch.Size") {
    PickleValue* value = make(Kind::tuple);
    if (!arguments.items.empty()) add_items(value, arguments.items[0]->items);
    return value;
  }
  if (pickle_detail::kInertObjects.count(name)) return make(Kind::object);
  pickle_detail::refuse_code(name);
}

// OrderedDict() followed by its entries, or in old files OrderedDict([[key, value], ...]).
PickleValue* Unpickler::make_dict(const PickleValue& arguments) {
  PickleValue* dict = make(Kind::dict);
  for (const PickleValue* given : arguments.items) {
    if (given->kind == Kind::dict) add_items(dict, given->items);
    if (given->kind != Kind::list) continue;
    for (const PickleValue* pair : given->items) {
      if (pair->items.size() != 2) pickle_detail::damaged("a dict entry is no pair");
      add_items(dict, pair->items);
    }
  }
  return dict;
}

// (storage, offset, shape, strides, requires_grad, hooks [, dtype]). Whether the view stays inside its
// storage is checked when the storage's place in the file is known.
PickleValue* Unpickler::rebuild_tensor(const PickleValue& arguments, bool has_dtype) {
  constexpr const char* kWhat = "_rebuild_tensor";
  PickledTensor tensor;
  tensor.storage =
      storages_.at(static_cast<size_t>(pickle_detail::argument(arguments, 0, Kind::storage, kWhat).integer));
  tensor.dtype = tensor.storage.dtype;
  tensor.offset = pickle_detail::count_argument(arguments, 1, kWhat);
  tensor.shape = pickle_detail::sizes_argument(arguments, 2, kWhat);
  tensor.strides = pickle_detail::sizes_argument(arguments, 3, kWhat);
  if (has_dtype) {
    const PickleValue& dtype = pickle_detail::argument(arguments, 6, Kind::global, kWhat);
    const auto* known = pickle_detail::find_type(pickle_detail::kTorchTypes, dtype.text);
    if (!known)
      throw std::runtime_error("tensors of type " + pickle_detail::full_name(dtype) + " are not supported");
    tensor.dtype = known->type;
  }
  if (tensor.shape.size() != tensor.strides.size())
    pickle_detail::damaged("a tensor's shape and strides differ in length");
  PickleValue* value = make(Kind::tensor);
  value->integer = static_cast<int64_t>(tensors_.size());
  tensors_.push_back(std::move(tensor));
  return value;
}

// ("storage", torch.FloatStorage, key, location, elements [, view: (key, offset, elements)])
PickleValue* Unpickler::load_storage(const PickleValue& id) {
  constexpr const char* kWhat = "a storage";
  if (id.kind != Kind::tuple || pickle_detail::argument(id, 0, Kind::text, kWhat).text != "storage") {
    pickle_detail::damaged("a persistent id that is no storage");
  }
  const PickleValue& type = pickle_detail::argument(id, 1, Kind::global, kWhat);
  const auto* known = pickle_detail::find_type(pickle_detail::kStorageTypes, type.text);
  const bool torch_module =
      type.module == "torch" || type.module == "torch.cuda" || type.module == "torch.storage";
  if (!known || !torch_module) {
    throw std::runtime_error("storages of type " + pickle_detail::full_name(type) + " are not supported");
  }
  const std::string_view key = pickle_detail::argument(id, 2, Kind::text, kWhat).text;
  if (key.size() > pickle_detail::kMaxStorageKey) pickle_detail::damaged("the name of a storage is too long");
  PickledStorage storage{std::string(key), known->type, pickle_detail::count_argument(id, 4, kWhat), 0};
  const auto first = storages_by_key_.emplace(storage.key, storage).first;
  if (first->second.dtype != storage.dtype || first->second.elements != storage.elements) {
    pickle_detail::damaged("storage \"" + pickle_detail::printable(storage.key) +
                           "\" is described in two ways");
  }
  if (id.items.size() > 5 && id.items[5]->kind == Kind::tuple) {
    storage.view_offset = pickle_detail::count_argument(*id.items[5], 1, kWhat);
    const uint64_t viewed = pickle_detail::count_argument(*id.items[5], 2, kWhat);
    if (storage.view_offset > storage.elements || viewed > storage.elements - storage.view_offset) {
      pickle_detail::damaged("a part of a storage lies outside it");
    }
  }
  PickleValue* value = make(Kind::storage);
  value->integer = static_cast<int64_t>(storages_.size());
  storages_.push_back(std::move(storage));
  return value;
}

// Attributes set on an object: a state dict carries _metadata, argparse's Namespace its options. None is
// needed.
void Unpickler::build() {
  pop();
  const Kind kind = top()->kind;
  if (kind == Kind::dict || kind == Kind::object) return;
  pickle_detail::refuse_code(kind == Kind::global ? pickle_detail::full_name(*top())
                                                  : "__setstate__ of an object");
}

}  // namespace zoo::weights
