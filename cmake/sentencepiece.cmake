# SentencePiece's trainer, which makes unigram vocabularies (libsentencepiece-dev). Without it the program builds and says so when
# one is asked for; reading SentencePiece models needs no library.
find_path(ZOO_SENTENCEPIECE_INCLUDE sentencepiece_trainer.h)
find_library(ZOO_SENTENCEPIECE_LIBRARY sentencepiece)
find_library(ZOO_SENTENCEPIECE_TRAIN_LIBRARY sentencepiece_train)
if(ZOO_SENTENCEPIECE_INCLUDE AND ZOO_SENTENCEPIECE_LIBRARY AND ZOO_SENTENCEPIECE_TRAIN_LIBRARY)
  set(ZOO_SENTENCEPIECE_LIBRARIES ${ZOO_SENTENCEPIECE_TRAIN_LIBRARY} ${ZOO_SENTENCEPIECE_LIBRARY})
  set(ZOO_SENTENCEPIECE_INCLUDES ${ZOO_SENTENCEPIECE_INCLUDE})
  list(REMOVE_ITEM ZOO_SENTENCEPIECE_INCLUDES /usr/include)  # named again it would hide the C headers from the C++ ones
else()
  set(ZOO_SENTENCEPIECE_LIBRARIES "")
  message(STATUS "SentencePiece's trainer is not here (libsentencepiece-dev): built without unigram vocabularies of one's own")
endif()
