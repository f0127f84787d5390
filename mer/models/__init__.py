"""Networks: backbones, the Lightning modules around them, and the transfer from macro to micro."""
