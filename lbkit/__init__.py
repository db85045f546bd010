"""lbkit: two bare Linux hosts become one load balancer that survives the loss of either."""

__version__ = "0.1.0"
