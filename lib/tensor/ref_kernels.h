/* Kernels of the reference backend that stand in a file of their own. */
#ifndef TENSOR_REF_KERNELS_H
#define TENSOR_REF_KERNELS_H

#include "tensor/backend.h"

void ref_matmul(const struct call *call);
void ref_conv(const struct call *call);
void ref_conv_dx(const struct call *call);
void ref_conv_dw(const struct call *call);
void ref_upfirdn(const struct call *call);
void ref_warp(const struct call *call);
void ref_warp_dx(const struct call *call);

#endif
