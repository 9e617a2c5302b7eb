"""What-if: replaying the log with other costing, fees or limits, without writing anything."""
