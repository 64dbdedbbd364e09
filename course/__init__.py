"""The coursework: what is asked, how answers are judged, and the commands of a teacher."""
