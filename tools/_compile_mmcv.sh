#!/bin/sh
# A C++ compiler for mmcv. Of each of its files nine tenths of the time go into torch's headers, so those in front of the
# ops (ops/csrc/pytorch/*.cpp, 57 of 77) are compiled as one, in the place of pybind.cpp; the others become empty objects.
source=
for word; do
    case $word in
        */ops/csrc/pytorch/*/*) ;;
        */ops/csrc/pytorch/*.cpp) source=$word ;;
    esac
done
[ -n "$source" ] || exec c++ "$@"
count=$#
for word; do
    if [ "$word" = "$source" ]; then set -- "$@" -x c++ - -x none; else set -- "$@" "$word"; fi
done
shift "$count"
case $source in
    */pybind.cpp) printf '#include "%s"\n' "${source%/*}"/*.cpp ;;
esac | c++ "$@"
