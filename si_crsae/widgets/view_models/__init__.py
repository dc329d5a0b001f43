"""What each view shows, as plain data: functions of a sorting, without a widget."""
